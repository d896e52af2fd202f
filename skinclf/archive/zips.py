"""Zip files: members listed from the central directory, read by byte range."""

import io
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

# The records of the zip format, by their sections in PKWARE's APPNOTE.TXT.
LOCAL_HEADER = struct.Struct("<4s22xHH")  # 4.3.7: signature … name and extra length
ENTRY = struct.Struct("<4s24x3H12x")  # 4.3.12: signature … lengths of name, extra and comment …
END = struct.Struct("<4s8xLL2x")  # 4.3.16: signature … directory's length and offset …
END_64 = struct.Struct("<4s36xQQ")  # 4.3.14: the same where 32 bits do not hold them
LOCATOR_64 = struct.Struct("<4s16x")  # 4.3.15: between END_64 and END
EXTRA_GUESS = 64  # bytes: header, extra fields and data then usually come in one read
LONGEST_COMMENT = 2**16
PAGE = 2**18
"""Bytes of the central directory that are held at a time: some 3,000 members."""


def members(file: str) -> Iterator[dict[str, Any]]:
    """The members of a zip with their `name`, then a defect where its directory is damaged.

    The directory is read in pages, so that memory does not grow with the number of members.
    """
    file_system, inner = locate(file)
    try:
        with file_system.open_input_file(inner) as opened:
            start, length, shift = _directory(opened)
            for page in _pages(opened, start, length):
                for member in _parsed(page):
                    if not member.is_dir():
                        yield _row(member, shift)
    except READ_ERRORS as error:
        yield {"defect": f"not a readable zip file: {error}"}


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


def _directory(file: pa.NativeFile) -> tuple[int, int, int]:
    """Of the central directory: where it begins, its length, and how far members lie behind the
    offsets it gives (the length of whatever stands before the zip); in bytes.
    """
    tail_length = min(file.size(), LOCATOR_64.size + END.size + LONGEST_COMMENT)
    tail_start = file.size() - tail_length
    tail = file.read_at(tail_length, tail_start)
    found = tail.rfind(b"PK\x05\x06", 0, tail_length - END.size + 4)
    if found < 0:
        raise zipfile.BadZipFile("it has no end-of-central-directory record")
    _, length, offset = END.unpack_from(tail, found)
    end = tail_start + found
    if tail[max(0, found - LOCATOR_64.size) : found].startswith(b"PK\x06\x07"):
        place = end - LOCATOR_64.size - END_64.size
        record = file.read_at(END_64.size, place) if place >= 0 else b""
        if record.startswith(b"PK\x06\x06"):
            _, length, offset = END_64.unpack(record)
            end = place
    start = end - length
    if start < 0:
        raise zipfile.BadZipFile("its central directory is said to be longer than the file")
    return start, length, start - offset


def _pages(file: pa.NativeFile, start: int, length: int) -> Iterator[bytes]:
    """The central directory in pieces of whole entries, up to the first that is damaged."""
    end, rest = start + length, b""
    while start < end:
        block = file.read_at(min(PAGE, end - start), start)
        start += len(block)
        page = rest + block
        cut, intact = _whole_entries(page)
        yield page[:cut]
        rest = page[cut:]
        if not intact or not block:
            break
    if rest:
        raise zipfile.BadZipFile("its central directory is damaged")


def _whole_entries(page: bytes) -> tuple[int, bool]:
    """How many bytes of a page are whole entries, and whether another may follow."""
    cut = 0
    while cut + ENTRY.size <= len(page):
        signature, *lengths = ENTRY.unpack_from(page, cut)
        if signature != b"PK\x01\x02":
            return cut, False
        following = cut + ENTRY.size + sum(lengths)
        if following > len(page):
            break
        cut = following
    return cut, True


def _parsed(page: bytes) -> list[zipfile.ZipInfo]:
    """Entries of a central directory, by zipfile, to which they are all there is."""
    end = END.pack(b"PK\x05\x06", len(page), 0)
    with zipfile.ZipFile(io.BytesIO(page + end)) as archive:
        return archive.infolist()


def _row(member: zipfile.ZipInfo, shift: int) -> dict[str, Any]:
    encrypted = bool(member.flag_bits & 0x1)
    return {
        "name": member.filename,
        "kind": "zip",
        "size": member.file_size,
        "offset": member.header_offset + shift,
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
