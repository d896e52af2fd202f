"""Lines that native libraries write to stderr whatever the settings."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

FILTER = """
import re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
unwanted = [re.compile(pattern.encode()) for pattern in sys.argv[1:]]
for line in sys.stdin.buffer:
    if not any(pattern.search(line) for pattern in unwanted):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""
"""A process of its own, so that what this one says as it crashes is still passed on."""

END_SECONDS = 5.0


@contextmanager
def without_lines(patterns: Sequence[str]) -> Iterator[None]:
    """Pass on what this process writes to stderr in the block inside, but for lines that one of
    the patterns (regular expressions) finds.
    """
    reading, writing = os.pipe()
    command = [sys.executable, "-S", "-c", FILTER, *patterns]
    process = subprocess.Popen(command, stdin=reading)
    os.close(reading)
    before = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        os.dup2(before, 2)  # the last end of the pipe: the filter ends
        os.close(before)
        with suppress(subprocess.TimeoutExpired):  # a child that was started inside may hold one
            process.wait(END_SECONDS)
