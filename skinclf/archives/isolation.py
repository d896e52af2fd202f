"""Decoding in a process of its own: a file that ends its decoder's process ends no task.

Tasks decode in their own process, which is fastest. Where one died, Spark starts the task again,
and that attempt decodes here, file by file: the one at which the process ends again, or hangs, is
a reject, and the rest is decoded.
"""

import os
import pickle
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from skinclf.archives import ArchiveReader
from skinclf.archives.decoding import Decoding, Entry, decoded_row, row_of
from skinclf.archives.tars import UNPACKERS
from skinclf.errors import SkinclfError

LENGTH = struct.Struct("<Q")
START_SECONDS = 120.0
GRACE_SECONDS = 60.0
"""For reading the file, besides the time that decoding has."""

SLOWEST = 5e6
"""Bytes/s: a packed tar is unpacked from its start to the file."""

TRIES = 2
"""A process may be ended by others, for want of memory: only the second time is it the file."""


class ProcessEnded(Exception):
    """The process that decodes is gone or was ended; the text says how."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class IsolatedDecoder:
    """Decodes listed files in another process, which is started again if it ends."""

    def __init__(self, decoding: Decoding, dumps: Any = pickle.dumps) -> None:
        self._setup = dumps(decoding)
        self._seconds = GRACE_SECONDS + decoding.limits.max_decode_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def rows(self, entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
        """The rows of `decoded_row`. Raises what it raises."""
        return map(self._row, entries)

    def _row(self, entry: Entry) -> dict[str, Any]:
        for _ in range(TRIES):
            try:
                answer = self._asked(entry)
            except ProcessEnded as ended:
                reject = {"reason": ended.reason, "detail": str(ended)}
                continue
            if isinstance(answer, SkinclfError):
                raise answer
            return answer
        return row_of(entry) | reject

    def _asked(self, entry: Entry) -> Any:
        process = self._started()
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # the answer says why
            _send(process.stdin, pickle.dumps(entry))
        unpacking = (entry["offset"] or 0) / SLOWEST if entry["kind"] in UNPACKERS else 0.0
        try:
            return pickle.loads(self._received(process, self._seconds + unpacking))
        except ProcessEnded:
            self._end()
            raise

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            path = os.pathsep.join(filter(None, sys.path))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "skinclf.archives.isolation"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": path},
            )
            try:
                _send(self._process.stdin, self._setup)
                self._received(self._process, START_SECONDS)
            except (ProcessEnded, BrokenPipeError) as error:  # not the fault of a file
                self._end()
                raise RuntimeError(f"the process for decoding did not start: {error}") from error
        return self._process

    def _received(self, process: subprocess.Popen[bytes], seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        (length,) = LENGTH.unpack(_read(process, LENGTH.size, deadline, seconds))
        return _read(process, length, deadline, seconds)

    def _end(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            for stream in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    stream.close()  # type: ignore[union-attr]
            process.wait()


def _read(process: subprocess.Popen[bytes], count: int, deadline: float, limit: float) -> bytes:
    """`count` bytes of what a process prints. Raises ProcessEnded."""
    output: Any = process.stdout
    data = b""
    while len(data) < count:
        ready, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise ProcessEnded("timeout", f"no answer within {limit:g} s")
        part = os.read(output.fileno(), count - len(data))
        if not part:
            status = process.wait()
            how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
            raise ProcessEnded("crashed", f"the process that decoded it ended {how}")
        data += part
    return data


def _send(stream: IO[bytes] | None, message: bytes) -> None:
    if stream is not None:
        stream.write(LENGTH.pack(len(message)) + message)
        stream.flush()


def _messages(stream: IO[bytes]) -> Iterator[bytes]:
    while head := stream.read(LENGTH.size):
        yield stream.read(LENGTH.unpack(head)[0])


def main() -> None:
    """Answer what comes by standard input: first a Decoding, then a listed file at a time."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    questions = _messages(sys.stdin.buffer)
    decoding: Decoding = pickle.loads(next(questions))
    _send(answers, b"ready")
    with ArchiveReader(decoding.limits.max_file_bytes) as reader:
        for question in questions:
            try:
                answer: Any = decoded_row(pickle.loads(question), reader, decoding)
            except SkinclfError as error:
                answer = error
            _send(answers, pickle.dumps(answer))


if __name__ == "__main__":
    main()
