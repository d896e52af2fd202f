"""Zip files: members listed from the central directory, read by byte range."""

import bz2
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pyarrow as pa

from skinclf.archives.files import StorageFile
from skinclf.archives.names import text_of
from skinclf.spec.rejects import RejectedImage

# The records of the zip format, by their sections in PKWARE's APPNOTE.TXT.
LOCAL_HEADER = struct.Struct("<4s22xHH")  # 4.3.7: signature … name and extra length
ENTRY = struct.Struct("<4sxB2xHH4xLLLHHHH2xLL")  # 4.3.12: see _Entry
END = struct.Struct("<4s4x2xHLL2x")  # 4.3.16: signature … members, directory's length and offset
END_64 = struct.Struct("<4s28xQQQ")  # 4.3.14: the same where 32 bits do not hold them
LOCATOR_64 = struct.Struct("<4s16x")  # 4.3.15: between END_64 and END
EXTRA = struct.Struct("<HH")  # 4.5.1: id and length of an extra field
EXTRA_GUESS = 64  # bytes: header, extra fields and data then usually come in one read
LONGEST_COMMENT = 2**16
PAGE = 2**18
"""Bytes of the central directory that are held at a time: some 3,000 members."""

ENCRYPTED, UTF_8 = 0x1, 0x800  # 4.4.4: general purpose flags
ZIP64, UNICODE_NAME = 0x0001, 0x7075  # 4.5.3, 4.6.9: extra fields
DOS_SYSTEMS = (0, 6, 10, 14)  # 4.4.2: FAT, OS/2, NTFS, VFAT; their tools may part names by \
UNIX = 3
ZSTANDARD = 93  # 4.4.5
METHODS = {
    zipfile.ZIP_STORED: "stored",
    zipfile.ZIP_DEFLATED: "deflate",
    zipfile.ZIP_BZIP2: "bzip2",
    zipfile.ZIP_LZMA: "LZMA",
    ZSTANDARD: "Zstandard",
}
"""The compression methods that are read."""

ENDINGS = {".zip": "zip"}

PIECE = 1024
"""Packed bytes that LZMA gets at a time: it has no limit of its own for what it unpacks."""


def members(file: str) -> Iterator[dict[str, Any]]:
    """The members of a zip with their `name`, then a `detail` if its directory is damaged.

    The directory is read in pages, so that memory does not grow with the number of members.
    """
    with StorageFile(file) as opened:
        version, count = opened.version(), 0
        try:
            start, length, shift, expected = _directory(opened)
            for page in _pages(opened, start, length):
                for member in _parsed(page):
                    count += 1
                    if not (member.name.endswith("/") and member.size == 0):  # no folder
                        yield _row(member, shift, opened.size) | {"file_version": version}
            if count % 2**16 != expected % 2**16:  # without ZIP64 the number has 16 bits
                raise zipfile.BadZipFile(f"it says that it has {expected} members, not {count}")
        except (zipfile.BadZipFile, struct.error) as error:
            yield {"reason": "unreadable", "detail": f"not a readable zip file: {error}"}


def reader(file: StorageFile, _kind: str, _max_bytes: int) -> partial[bytes]:
    """What reads one member of an open zip: see read_member."""
    return partial(read_member, file)


def read_member(file: StorageFile, entry: Mapping[str, Any]) -> bytes:
    """The unpacked bytes of a member, checked against its size and CRC-32.

    Raises RejectedImage `unreadable` or `unsupported`.
    """
    offset, packed_size = entry["offset"], entry["packed_size"]
    name_length = len(entry["source"].rpartition("!/")[2].encode())
    guess = LOCAL_HEADER.size + name_length + EXTRA_GUESS
    block = file.read_at(guess + packed_size, offset)
    if len(block) < LOCAL_HEADER.size or not block.startswith(b"PK\x03\x04"):
        raise RejectedImage("unreadable", f"no zip member starts at byte {offset}")
    _, name_length, extra_length = LOCAL_HEADER.unpack_from(block)
    start = LOCAL_HEADER.size + name_length + extra_length
    packed = block[start : start + packed_size]
    if len(packed) < packed_size:
        packed += file.read_at(packed_size - len(packed), offset + start + len(packed))
    data = _unpack(packed, entry["method"], entry["size"])
    if len(data) != entry["size"] or zlib.crc32(data) != entry["crc"]:
        raise RejectedImage("unreadable", "the zip member's size or CRC-32 does not fit its bytes")
    return data


class _Entry:
    """One entry of the central directory."""

    def __init__(self, page: bytes, start: int) -> None:
        fields = ENTRY.unpack_from(page, start)
        self.system, self.flags, self.method, self.crc, self.packed_size, self.size = fields[1:7]
        name_length, extra_length, _, self.disk, attributes, self.offset = fields[7:]
        name_end = start + ENTRY.size + name_length
        raw = page[start + ENTRY.size : name_end]
        extra = dict(_extra_fields(page[name_end : name_end + extra_length]))
        self.name = self._text(raw, extra.get(UNICODE_NAME, b""))
        self.is_link = self.system == UNIX and stat.S_ISLNK(attributes >> 16)
        wide = extra.get(ZIP64, b"")
        for field in ("size", "packed_size", "offset"):  # in this order, if 32 bits do not hold it
            if getattr(self, field) == 0xFFFFFFFF and len(wide) >= 8:
                setattr(self, field, int.from_bytes(wide[:8], "little"))
                wide = wide[8:]

    def _text(self, raw: bytes, unicode_name: bytes) -> str:
        """The name: UTF-8 if it says or looks so, else code page 437, as the format demands."""
        if unicode_name[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            name = text_of(unicode_name[5:])
        elif self.flags & UTF_8:
            name = text_of(raw)
        else:
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError:
                name = raw.decode("cp437")
        name = name.replace("\0", "%00")
        return name.replace("\\", "/") if self.system in DOS_SYSTEMS else name


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    while len(extra) >= EXTRA.size:
        kind, length = EXTRA.unpack_from(extra)
        yield kind, extra[EXTRA.size : EXTRA.size + length]
        extra = extra[EXTRA.size + length :]


def _directory(file: StorageFile) -> tuple[int, int, int, int]:
    """Of the central directory: where it begins, its length, how far members lie behind the
    offsets it gives (the length of whatever precedes the zip), in bytes; and its members.
    """
    tail_length = min(file.size, LOCATOR_64.size + END.size + LONGEST_COMMENT)
    tail_start = file.size - tail_length
    tail = file.read_at(tail_length, tail_start)
    found = _end_record(tail)
    _, count, length, offset = END.unpack_from(tail, found)
    end = tail_start + found
    if tail[max(0, found - LOCATOR_64.size) : found].startswith(b"PK\x06\x07"):
        place = end - LOCATOR_64.size - END_64.size
        record = file.read_at(END_64.size, place) if place >= 0 else b""
        if record.startswith(b"PK\x06\x06"):
            _, count, length, offset = END_64.unpack(record)
            end = place
    start = end - length
    if start < 0:
        raise zipfile.BadZipFile("its central directory is said to be longer than the file")
    return start, length, start - offset, count


def _end_record(tail: bytes) -> int:
    """Where the end-of-central-directory record is: the last whose comment ends with the file,
    since a comment may hold such bytes, too; else the last.
    """
    places = [match.start() for match in re.finditer(b"PK\x05\x06", tail[: 4 - END.size or None])]
    if not places:
        raise zipfile.BadZipFile("it has no end-of-central-directory record")
    for place in reversed(places):
        comment = int.from_bytes(tail[place + END.size - 2 : place + END.size], "little")
        if place + END.size + comment == len(tail):
            return place
    return places[-1]


def _pages(file: StorageFile, start: int, length: int) -> Iterator[bytes]:
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
        if page[cut : cut + 4] != b"PK\x01\x02":
            return cut, False
        following = cut + _entry_length(page, cut)
        if following > len(page):
            break
        cut = following
    return cut, True


def _entry_length(page: bytes, start: int) -> int:
    lengths = ENTRY.unpack_from(page, start)[7:10]  # of name, extra fields and comment
    return ENTRY.size + sum(lengths)


def _parsed(page: bytes) -> Iterator[_Entry]:
    start = 0
    while start < len(page):
        yield _Entry(page, start)
        start += _entry_length(page, start)


def _row(member: _Entry, shift: int, file_size: int) -> dict[str, Any]:
    """A member as a row of LISTING; what it claims is held against the size of the file."""
    row: dict[str, Any] = {"name": member.name, "kind": "zip"}
    version = f"{member.crc:08x}-{member.size}"
    begin = member.offset + shift
    if member.flags & ENCRYPTED:
        problem = ("unreadable", "the member is encrypted")
    elif member.is_link:
        problem = ("not_a_file", "a symbolic link")
    elif member.disk not in (0, 0xFFFF):
        problem = ("unreadable", f"it lies in part {member.disk + 1} of a split zip")
    elif member.packed_size > 2 * member.size + 2**16:  # no method makes so much of so little
        problem = ("unreadable", f"{member.size} bytes said to be packed in {member.packed_size}")
    elif begin < 0 or begin + member.packed_size > file_size:
        end = begin + member.packed_size
        problem = ("unreadable", f"said to lie at bytes {begin} to {end} of {file_size}")
    else:
        return row | {
            "size": min(member.size, 2**62),  # it may claim more than a column can hold
            "offset": begin,
            "packed_size": member.packed_size,
            "method": member.method,
            "crc": member.crc,
            "version": version,
        }
    return row | {"version": version, "reason": problem[0], "detail": problem[1]}


def _unpack(packed: bytes, method: int, size: int) -> bytes:
    """Unpack little more than the listing promised: no zip bomb goes off."""
    limit = size + 1
    try:
        match method:
            case zipfile.ZIP_STORED:
                return packed
            case zipfile.ZIP_DEFLATED:
                return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, limit)
            case zipfile.ZIP_BZIP2:
                return bz2.BZ2Decompressor().decompress(packed, limit)
            case zipfile.ZIP_LZMA:
                return _unpack_lzma(packed, limit)
            case _ if method == ZSTANDARD:
                with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
                    return bytes(stream.read(limit))
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError) as error:
        raise RejectedImage("unreadable", f"{type(error).__name__}: {error}") from None
    known = ", ".join(METHODS.values())
    raise RejectedImage("unsupported", f"zip compression method {method}; read are {known}")


def _unpack_lzma(packed: bytes, limit: int) -> bytes:
    decompressor = zipfile.LZMADecompressor()  # type: ignore[attr-defined]
    data = b""
    for start in range(0, len(packed), PIECE):
        if decompressor.eof or len(data) >= limit:
            break
        data += decompressor.decompress(packed[start : start + PIECE])
    return data[:limit]
