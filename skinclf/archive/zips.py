"""Zip files: members listed from the central directory, read by byte range."""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from skinclf.errors import RejectedImage
from skinclf.storage import locate

READ_ERRORS = (
    # What reading a damaged or vanished archive raises, in pyarrow, zipfile, zlib and struct.
    *(OSError, pa.ArrowInvalid, zipfile.BadZipFile, NotImplementedError),
    *(zlib.error, struct.error, UnicodeDecodeError),
)

LOCAL_HEADER = struct.Struct("<4s22xHH")  # APPNOTE.TXT 4.3.7: signature … name and extra length
EXTRA_GUESS = 64  # bytes: header, extra fields and data then usually come in one read


def members(file: str) -> Iterator[dict[str, Any]]:
    """The members of a zip with their `name`; of a file that is none, its defect."""
    file_system, inner = locate(file)
    try:
        with file_system.open_input_file(inner) as opened, zipfile.ZipFile(opened) as archive:
            found = archive.infolist()
    except READ_ERRORS as error:
        yield {"defect": f"not a readable zip file: {error}"}
        return
    yield from (_row(member) for member in found if not member.is_dir())


def read_member(file: pa.NativeFile, entry: Mapping[str, Any]) -> bytes:
    """The unpacked bytes of a member, checked against its size and CRC-32.

    Raises RejectedImage, and READ_ERRORS where the file itself fails.
    """
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


def _row(member: zipfile.ZipInfo) -> dict[str, Any]:
    encrypted = bool(member.flag_bits & 0x1)
    return {
        "name": member.filename,
        "kind": "zip",
        "size": member.file_size,
        "offset": member.header_offset,
        "packed_size": member.compress_size,
        "method": member.compress_type,
        "crc": member.CRC,
        "stamp": f"{member.CRC:08x}-{member.file_size}",
        "defect": "the member is encrypted" if encrypted else None,
    }


def _unpack(packed: bytes, method: int, size: int) -> bytes:
    """Unpack at most one byte more than the listing promised: no zip bomb goes off."""
    if method == zipfile.ZIP_STORED:
        return packed
    if method == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
    raise RejectedImage("unreadable", f"zip compression method {method} is not stored or deflated")
