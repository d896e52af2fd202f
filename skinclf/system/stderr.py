"""Lines that native libraries write to stderr whatever the settings."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

FILTER = """
import re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
unwanted = [re.compile(pattern.encode()) for pattern in sys.argv[1:]]
for line in sys.stdin.buffer:
    if not any(pattern.search(line) for pattern in unwanted):
        try:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
        except OSError:
            pass  # the line is lost: its disk is full, or its reader gone
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


LAST = b"\0last\n"


@contextmanager
def stderr_lines(use: Callable[[str], None]) -> Iterator[int]:
    """Give each line to `use` that this process and its children write to stderr in the block
    inside; yields a descriptor of stderr itself.

    Called in a thread of this process, which knows what is secret. What a process says as it
    crashes is lost.
    """
    reading, writing = os.pipe()

    def read() -> None:
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                if line == LAST:
                    return
                text = line.decode(errors="replace").rstrip()
                if text:
                    use(text)

    reader = threading.Thread(target=read, daemon=True)
    before = os.dup(2)
    os.dup2(writing, 2)
    reader.start()
    try:
        yield before
    finally:
        os.dup2(before, 2)
        with suppress(OSError):  # the reader has ended
            os.write(writing, b"\n" + LAST)  # children may hold the pipe: its end does not come
        os.close(writing)
        reader.join(END_SECONDS)
        os.close(before)
