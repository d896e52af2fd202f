"""One listed file after the other → its bytes."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from skinclf.archives.files import StorageFile
from skinclf.archives.formats import ReadMember, format_of_kind
from skinclf.errors import SkinclfError
from skinclf.spec.rejects import RejectedImage

SPARK = "spark"
"""The kind of a file that Spark has listed, and read into a column `content`."""

PLAIN = ("file", SPARK)
"""Kinds of files that are no member of an archive."""

OF_THE_MEMBER = ("empty", "too_large")
"""Reasons after which an archive is read on from where it was: the next member is as good."""


class ArchiveReader:
    """Reads listed files one after the other; keeps the file that it read last open."""

    def __init__(
        self, max_file_bytes: int, open_file: Callable[[str], StorageFile] = StorageFile
    ) -> None:
        self._max_file_bytes = max_file_bytes
        self._open_file = open_file
        self._file: StorageFile | None = None
        self._is_new = False
        self._read_member: ReadMember | None = None  # of the open file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._forget()

    def read(self, entry: Mapping[str, Any]) -> bytes:
        """The bytes of one row of LISTING (with `content` where Spark has read it).

        Raises RejectedImage if they can't be had, whatever the file holds, and StorageUnavailable
        if it is the storage that fails.
        """
        if entry["reason"] is not None:
            raise RejectedImage(entry["reason"], entry["detail"])
        self._check_size(entry["size"])
        try:
            data = self._read(entry)
        except RejectedImage as rejected:
            if rejected.reason not in OF_THE_MEMBER:
                self._read_member = None
            raise
        except SkinclfError:  # the storage's
            raise
        except Exception as error:  # any: what a damaged archive makes its reader raise is its own
            self._forget()
            raise RejectedImage("unreadable", f"{type(error).__name__}: {error}") from None
        self._check_size(len(data))
        return data

    def check_unchanged(self, entry: Mapping[str, Any]) -> None:
        """Raise RejectedImage `changed` if an entry's archive is another than the one listed: what
        was at a place in it may be somewhere else.
        """
        if entry["kind"] in PLAIN or self._file is None or self._file.name != entry["file"]:
            return  # an entry may be rejected before its archive is opened: another file is open
        if self._file.version() != entry["file_version"]:
            self._forget()
            raise RejectedImage("changed", "the archive was rewritten after it was listed")

    def _read(self, entry: Mapping[str, Any]) -> bytes:
        if entry["kind"] == SPARK:
            if entry["content"] is None:
                raise RejectedImage("vanished", "Spark found no such file any more")
            return bytes(entry["content"])
        file = self._open(entry["file"])
        if entry["kind"] == "file":
            # As long as it is now: it may have grown since it was listed.
            self._check_size(file.size)
            return file.read_at(file.size, 0)
        if self._is_new or file.is_local:  # of an object on a server, that is one more request
            self.check_unchanged(entry)
            self._is_new = False
        return self._member(file, entry)

    def _member(self, file: StorageFile, entry: Mapping[str, Any]) -> bytes:
        if self._read_member is None:
            kind = entry["kind"]
            self._read_member = format_of_kind(kind).reader(file, kind, self._max_file_bytes)
        data, size = self._read_member(entry), entry["size"]
        if size is not None and len(data) < size:
            detail = f"{len(data)} of {size} bytes; the archive ends there"
            raise RejectedImage("truncated", detail)
        return data

    def _check_size(self, size: int | None) -> None:
        if size is not None and size > self._max_file_bytes:
            raise RejectedImage("too_large", f"{size} bytes, at most {self._max_file_bytes} taken")

    def _open(self, name: str) -> StorageFile:
        if self._file is None or name != self._file.name:
            self._forget()
            self._file, self._is_new = self._open_file(name), True
        return self._file

    def _forget(self) -> None:
        """Close what is open; after an error its state is not to be trusted."""
        if self._file is not None:
            self._file.close()
        self._file, self._read_member = None, None
