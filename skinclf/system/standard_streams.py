"""stdout and stderr for progress: what can't be written there ends no job."""

import sys
from contextlib import suppress
from typing import Any, Literal, Self, TextIO, cast


class StandardStream:
    """sys.stdout or sys.stderr, as it is at each moment, where what can't be written is lost: no
    job ends because the disk of its log is full, its reader gone, or the stream closed.
    """

    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        self._name = name

    def write(self, text: str) -> int:
        """Write, if that is possible; all of it counts as written."""
        stream = self._stream
        if stream is not None:
            with suppress(OSError, ValueError):  # ValueError: it is closed
                stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        stream = self._stream
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()

    @property
    def rich_proxied_file(self) -> Self:
        """What rich writes to: while it shows a bar, the stream is its own, which prints here."""
        return self

    @property
    def _stream(self) -> TextIO | None:
        stream = getattr(sys, self._name)
        return cast("TextIO | None", getattr(stream, "rich_proxied_file", stream))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def standard_stream(name: Literal["stdout", "stderr"]) -> TextIO:
    """A StandardStream, for what takes a file."""
    return cast("TextIO", StandardStream(name))
