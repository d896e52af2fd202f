"""One file on storage, read by byte range; faults of the storage are tried again."""

import codecs
import errno
import os
import stat
import time
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from skinclf.spec.rejects import RejectedImage
from skinclf.storage.files import local_path, locate
from skinclf.storage.range_files import SizedFile
from skinclf.system.retrying import is_gone, retried

T = TypeVar("T")


class StorageFile(SizedFile):
    """A file by path or URI, opened at the first read.

    A range is cut to what the file has before memory is taken for it. Raises RejectedImage
    `vanished` if there is no such file, `unreadable` if it may not be read, and
    StorageUnavailable if the storage fails at each of several tries.
    """

    def __init__(self, name: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.name = name
        self._sleep = sleep
        self._opened: pa.NativeFile | None = None
        self._size = 0

    @property
    def is_local(self) -> bool:
        """Whether a stat of it costs microseconds."""
        return local_path(self.name) is not None

    def version(self) -> str:
        """The version of the file as it is now: see version_of."""
        return self._tried(lambda: _version_now(self.name))

    @property
    def size(self) -> int:
        """Bytes that the file had when it was opened."""
        if self._opened is None:
            self._tried(self._open)
        return self._size

    def read_at(self, count: int, offset: int) -> bytes:
        """At most `count` bytes from `offset`; fewer where the file ends."""
        count = min(count, self.size - offset)
        if count <= 0 or offset < 0:
            return b""
        return bytes(self._tried(lambda: self._open().read_at(count, offset)))

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.close()
        super().close()

    def _open(self) -> pa.NativeFile:
        if self._opened is None:
            path = local_path(self.name)
            if path is None:
                file_system, inner = locate(self.name)
                self._opened = file_system.open_input_file(inner)
            else:
                if os.path.isdir(path):
                    raise IsADirectoryError(errno.EISDIR, "a folder", path)
                # By its bytes: a POSIX name need not be UTF-8.
                self._opened = pa.OSFile(os.fsencode(path), "rb")
            self._size = self._opened.size()
        return self._opened

    def _tried(self, read: Callable[[], T]) -> T:
        def again() -> T:
            try:
                return read()
            except OSError:
                self._opened = None  # after an error its state is not to be trusted
                raise

        try:
            return retried(again, self.name, self._sleep)
        except OSError as error:
            if is_gone(error):
                raise RejectedImage("vanished", "the file is not there any more") from None
            raise RejectedImage("unreadable", str(error)) from None


def encoding_of(beginning: bytes) -> str:
    """The encoding of a text file that begins so: UTF-16 where that is its byte order mark, else
    UTF-8.
    """
    marked = beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if marked else "utf-8-sig"


def _version_now(name: str) -> str:
    """Raises OSError, FileNotFoundError among them."""
    path = local_path(name)
    if path is not None:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "not a regular file", path)
        return version_of(found.st_mtime_ns, found.st_size)
    file_system, inner = locate(name)
    info = file_system.get_file_info(inner)
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(errno.ENOENT, "no such file", name)
    return version_of(info.mtime_ns, info.size)


def version_of(changed: int | None, size: int | None) -> str:
    """The version of a file by its time of change (ns since 1970, UTC) and size (bytes)."""
    return f"{changed}-{size}"
