"""Folders, zip files and single files → a listing that splits into tasks, and its reader.

A zip's members are listed from its central directory and read in place by byte range, so one
large zip is shared by all cores and nothing is ever extracted.
"""

import glob
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pyarrow import fs

from skinclf.errors import ArchiveError, RejectedImage
from skinclf.storage import locate, uri

LISTING = pa.schema(
    [
        (
            "source",
            pa.string(),
        ),  # URI of the file; a zip's member is archive.zip!/member.jpg
        ("image_id", pa.string()),  # the file's name without its ending
        (
            "file",
            pa.string(),
        ),  # URI of the file to open: the image, or the zip that holds it
        ("size", pa.int64()),  # bytes of the image file, unpacked
        (
            "offset",
            pa.int64(),
        ),  # of the member's local header in the zip; null: a plain file
        ("packed_size", pa.int64()),  # bytes in the zip
        ("method", pa.int32()),  # compression method of the zip format
        ("crc", pa.int64()),  # CRC-32 of the unpacked bytes
        (
            "defect",
            pa.string(),
        ),  # why it can't be read at all; null for nearly every file
    ]
)
"""One row a file that is to become an image."""

READ_ERRORS = (
    # What reading a damaged or vanished archive raises, in pyarrow, zipfile, zlib and struct.
    *(OSError, pa.ArrowInvalid, zipfile.BadZipFile, NotImplementedError),
    *(zlib.error, struct.error, UnicodeDecodeError),
)

LOCAL_HEADER = struct.Struct("<4s22xHH")  # APPNOTE.TXT 4.3.7: signature … name and extra length
EXTRA_GUESS = 64  # bytes: header, extra fields and data then usually come in one read


def list_images(paths: Iterable[str], leave_out: Sequence[str] = ()) -> pa.Table:
    """List every file of `paths`: folders (recursively), zip files, single files, local globs.

    Every file counts, whatever its name, save those in `leave_out` (the metadata): what is no
    image becomes a reject when it is read. Returns LISTING's columns, sorted by source.
    Raises ArchiveError where a path does not exist or nothing is found.
    """
    skipped = {uri(path) for path in leave_out if path}
    files: dict[str, fs.FileInfo] = {}
    for path in paths:
        for expanded in _expand(path):
            files.update(_files_below(expanded))
    rows: list[dict[str, Any]] = []
    for file, info in files.items():
        if file not in skipped:
            rows += _zip_rows(file) if file.lower().endswith(".zip") else [_file_row(file, info)]
    if not rows:
        raise ArchiveError(f"no files in {', '.join(paths) or 'archive.paths, which is empty'}")
    rows.sort(key=lambda row: (row["source"], row["offset"] or 0))
    return pa.Table.from_pylist(rows, schema=LISTING)


class ArchiveReader:
    """Reads listed files one after the other; keeps the file that it read last open."""

    def __init__(self, max_file_bytes: int) -> None:
        self._max_file_bytes = max_file_bytes
        self._name = ""
        self._file: pa.NativeFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, entry: Mapping[str, Any]) -> bytes:
        """The bytes of one row of LISTING. Raises RejectedImage where they can't be had."""
        if entry["defect"] is not None:
            raise RejectedImage("unreadable", entry["defect"])
        if entry["size"] > self._max_file_bytes:
            raise RejectedImage(
                "too_large",
                f"{entry['size']} bytes, at most {self._max_file_bytes} taken",
            )
        try:
            file = self._open(entry["file"])
            if entry["offset"] is None:
                return bytes(file.read_at(entry["size"] + 1, 0))
            return _read_member(file, entry)
        except READ_ERRORS as error:
            raise RejectedImage("unreadable", f"{type(error).__name__}: {error}") from None

    def _open(self, name: str) -> pa.NativeFile:
        if self._file is None or name != self._name:
            if self._file is not None:
                self._file.close()
            file_system, inner = locate(name)
            self._file, self._name = file_system.open_input_file(inner), name
        return self._file


def _expand(path: str) -> list[str]:
    if "://" in path or not glob.has_magic(path) or os.path.exists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise ArchiveError(f"{path}: no file has such a name")
    return found


def _files_below(path: str) -> Iterator[tuple[str, fs.FileInfo]]:
    """Every file of a folder, or the one file that `path` is, as (URI, info)."""
    file_system, inner = locate(path)
    info = file_system.get_file_info(inner)
    if info.type == fs.FileType.NotFound:
        raise ArchiveError(f"{path}: no such file or folder; expected images, or a zip of images")
    root = uri(path).rstrip("/")
    if info.type == fs.FileType.File:
        yield root, info
        return
    for below in file_system.get_file_info(fs.FileSelector(inner, recursive=True)):
        if below.type == fs.FileType.File:
            name = below.path.removeprefix(inner.rstrip("/")).lstrip("/")
            yield (
                (uri(below.path) if root.startswith("file://") else f"{root}/{name}"),
                below,
            )


def _file_row(file: str, info: fs.FileInfo) -> dict[str, Any]:
    return {
        "source": file,
        "image_id": PurePosixPath(info.path).stem,
        "file": file,
        "size": info.size,
    } | dict.fromkeys(("offset", "packed_size", "method", "crc", "defect"))


def _zip_rows(file: str) -> list[dict[str, Any]]:
    """One row a member; a file that is no zip is one row with its defect."""
    file_system, inner = locate(file)
    try:
        with (
            file_system.open_input_file(inner) as opened,
            zipfile.ZipFile(opened) as archive,
        ):
            members = [member for member in archive.infolist() if not member.is_dir()]
    except READ_ERRORS as error:
        row = _file_row(file, fs.FileInfo(inner, size=0))
        return [row | {"defect": f"not a readable zip file: {error}"}]
    return [_member_row(file, member) for member in members]


def _member_row(file: str, member: zipfile.ZipInfo) -> dict[str, Any]:
    encrypted = bool(member.flag_bits & 0x1)
    return {
        "source": f"{file}!/{member.filename}",
        "image_id": PurePosixPath(member.filename).stem,
        "file": file,
        "size": member.file_size,
        "offset": member.header_offset,
        "packed_size": member.compress_size,
        "method": member.compress_type,
        "crc": member.CRC,
        "defect": "the member is encrypted" if encrypted else None,
    }


def _read_member(file: pa.NativeFile, entry: Mapping[str, Any]) -> bytes:
    """The unpacked bytes of a zip's member, checked against its size and CRC-32."""
    offset, packed_size = entry["offset"], entry["packed_size"]
    name_length = len(entry["source"].rpartition("!/")[2].encode())
    guess = LOCAL_HEADER.size + name_length + EXTRA_GUESS
    block = file.read_at(guess + packed_size, offset)
    signature, name_length, extra_length = LOCAL_HEADER.unpack_from(block)
    if signature != b"PK\x03\x04":
        raise RejectedImage("unreadable", f"no zip member starts at byte {offset}")
    start = LOCAL_HEADER.size + name_length + extra_length
    packed = block[start : start + packed_size]
    if len(packed) < packed_size:
        packed += file.read_at(packed_size - len(packed), offset + start + len(packed))
    data = _unpack(packed, entry["method"], entry["size"])
    if len(data) != entry["size"] or zlib.crc32(data) != entry["crc"]:
        raise RejectedImage("unreadable", "the zip member's size or CRC-32 does not fit its bytes")
    return data


def _unpack(packed: bytes, method: int, size: int) -> bytes:
    """Unpack at most one byte more than the listing promised: no zip bomb goes off."""
    if method == zipfile.ZIP_STORED:
        return packed
    if method == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
    raise RejectedImage("unreadable", f"zip compression method {method} is not stored or deflated")
