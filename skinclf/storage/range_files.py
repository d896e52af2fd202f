"""Binary file objects over reads by byte range, whatever reads them."""

import io
from typing import Any


class RangeFile(io.RawIOBase):
    """A binary file object over `read_at`, which children have."""

    _position = 0  # of the next read

    def read_at(self, count: int, offset: int) -> bytes:
        """At most `count` bytes from `offset`; fewer where the file ends."""
        raise NotImplementedError

    def readinto(self, buffer: Any) -> int:
        """As io.RawIOBase.readinto."""
        data = self.read_at(len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As io.RawIOBase.seek, but not from the end, which not every child knows."""
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of the file is not known")
        self._position = offset if whence == io.SEEK_SET else self._position + offset
        return self._position

    def tell(self) -> int:
        """As io.RawIOBase.tell."""
        return self._position

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True


AHEAD = 4 * 2**20
"""Bytes that one request to an object store brings while the next reads are near."""


class ReadAhead(RangeFile):
    """A file whose requests take long: what follows a read is kept for the next one, if that is
    near. Of files whose reads lie far apart, no more is read than is asked for.
    """

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self._held, self._start = b"", 0
        self._last = 0  # where the last read began

    def read_at(self, count: int, offset: int) -> bytes:
        """At most `count` bytes from `offset`; fewer where the file ends."""
        if not self._start <= offset <= offset + count <= self._start + len(self._held):
            is_near = 0 <= offset - self._last <= AHEAD // 4
            self._held = self._file.read_at(max(count, AHEAD if is_near else 0), offset)
            self._start = offset
        self._last = offset
        place = offset - self._start
        return self._held[place : place + count]


class SizedFile(RangeFile):
    """A RangeFile whose size is known."""

    @property
    def size(self) -> int:
        """Bytes."""
        raise NotImplementedError

    def read(self, size: int | None = -1) -> bytes:
        """As io.RawIOBase.read, but no memory is taken for what the file does not have."""
        wanted = self.size if size is None or size < 0 else size
        data = self.read_at(wanted, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As io.RawIOBase.seek."""
        if whence == io.SEEK_END:
            return super().seek(max(0, self.size + offset))
        return super().seek(offset, whence)
