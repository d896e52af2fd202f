"""One listed file after the other → its bytes."""

import gzip
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from skinclf.archive.parquets import RowReader
from skinclf.archive.tars import TAR_ERRORS
from skinclf.archive.zips import READ_ERRORS, read_member
from skinclf.errors import RejectedImage
from skinclf.storage import locate

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


class ArchiveReader:
    """Reads listed files one after the other; keeps the file that it read last open."""

    def __init__(self, max_file_bytes: int) -> None:
        self._max_file_bytes = max_file_bytes
        self._name = ""
        self._file: pa.NativeFile | None = None
        self._inside: Any = None  # what reads inside the open file: gzip.GzipFile or RowReader

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

        Raises RejectedImage where they can't be had.
        """
        if entry["defect"] is not None:
            raise RejectedImage("unreadable", entry["defect"])
        if entry["kind"] != "file" and entry["source"].lower().endswith(ARCHIVES):
            raise RejectedImage("nested_archive", "an archive in an archive is not opened")
        self._check_size(entry["size"])
        try:
            data = self._read(entry)
        except (*READ_ERRORS, *TAR_ERRORS) as error:
            self._forget()
            raise RejectedImage("unreadable", f"{type(error).__name__}: {error}") from None
        self._check_size(len(data))
        return data

    def _read(self, entry: Mapping[str, Any]) -> bytes:
        if entry["kind"] == "spark":
            if entry["content"] is None:
                raise RejectedImage("unreadable", "Spark found no such file any more")
            return bytes(entry["content"])
        file = self._open(entry["file"])
        match entry["kind"]:
            case "zip":
                return read_member(file, entry)
            case "tar":
                return _whole(file.read_at(entry["size"], entry["offset"]), entry["size"])
            case "tar.gz":
                self._inside = self._inside or gzip.GzipFile(fileobj=file)
                self._inside.seek(entry["offset"])
                return _whole(self._inside.read(entry["size"]), entry["size"])
            case "parquet":
                self._inside = self._inside or RowReader(file)
                return self._inside.read(entry["offset"])
            case _:
                # As long as it is now: it may have grown since it was listed.
                size = file.size()
                self._check_size(size)
                return bytes(file.read_at(size, 0))

    def _check_size(self, size: int | None) -> None:
        if size is not None and size > self._max_file_bytes:
            raise RejectedImage("too_large", f"{size} bytes, at most {self._max_file_bytes} taken")

    def _open(self, name: str) -> pa.NativeFile:
        if self._file is None or name != self._name:
            self._forget()
            file_system, inner = locate(name)
            self._file, self._name = file_system.open_input_file(inner), name
        return self._file

    def _forget(self) -> None:
        """Close what is open; after an error its state is not to be trusted."""
        if self._file is not None:
            self._file.close()
        self._file, self._inside = None, None


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise RejectedImage("truncated", f"{len(data)} of {size} bytes; the archive ends there")
    return bytes(data)
