"""Tar files: members listed by one pass over the headers, read by byte range."""

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import pyarrow as pa

from skinclf.archives.files import StorageFile
from skinclf.archives.names import shown, text_of
from skinclf.storage.files import name_of
from skinclf.storage.range_files import RangeFile, ReadAhead

UNPACKERS: dict[str, Callable[[StorageFile], Any]] = {
    "tar.gz": lambda file: gzip.GzipFile(fileobj=file),
    "tar.bz2": bz2.BZ2File,
    "tar.xz": lambda file: lzma.LZMAFile(file),  # type: ignore[arg-type]  # noqa: SIM115
    "tar.zst": lambda file: pa.CompressedInputStream(file, "zstd"),
}
"""What unpacks a packed tar as one stream, by the `kind` of its members."""

ENDINGS = {
    ".tar": "tar",
    **dict.fromkeys((".tar.gz", ".tgz"), "tar.gz"),
    **dict.fromkeys((".tar.bz2", ".tbz2", ".tbz"), "tar.bz2"),
    **dict.fromkeys((".tar.xz", ".txz"), "tar.xz"),
    **dict.fromkeys((".tar.zst", ".tzst"), "tar.zst"),
}
"""`kind` by the ending of the file's name, in lower case."""

TAR_ERRORS = (
    # What a damaged tar or packed stream raises; the storage's own errors are none of these.
    *(tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
    *(EOFError, OSError, ValueError, OverflowError),
    RecursionError,  # a long chain of headers that each hold a name for the next
)

LONGEST_HEADER = 2**20
"""Bytes: a header that claims more for names and attributes is damaged, or meant to do harm."""

PADDING = 2**16
"""Bytes after the end mark that are looked at: tar writes zeros there, some 10 kB at most."""

MOST_UNPACKED, MOST_TIMES = 2**30, 100
"""Of a packed tar so many bytes are unpacked, or so many times its size if that is more: images
hardly shrink, and what does is meant to hold the job."""

SKIP = 2**20
"""Bytes that are unpacked at a time on the way to a place in a packed tar."""

TYPES = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a FIFO",
}


Targets = dict[bytes, tuple[int, int] | None]
"""Names that hard links lead to, by `_key` → offset and size of the last file of that name."""


def kind_of(file: str) -> str | None:
    """The kind of tar by a file's name; None for another file."""
    name = file.lower()
    return next((kind for ending, kind in ENDINGS.items() if name.endswith(ending)), None)


def members(file: str) -> Iterator[dict[str, Any]]:
    """The files in a tar with their `name`, then a `detail` if the tar is damaged.

    A hard link is a file with its target's bytes. Since its target is somewhere before it, a
    tar that has hard links is read twice, so that memory grows with their number alone. What is
    neither file nor folder is a row with a reason. A packed tar is unpacked for each pass, and
    again by each task that reads of it: it has no places to enter at.
    """
    kind = kind_of(name_of(file)) or "tar"
    version = StorageFile(file).version()
    targets: Targets = {}
    try:
        for member in _headers(file, kind):
            if member.islnk():
                targets[_key(_link_name(member))] = None
            elif not member.isdir():
                yield _row(member, kind, version)
        if targets:
            yield from _links(file, kind, version, targets)
    except TAR_ERRORS as error:
        yield {"reason": "unreadable", "detail": f"not a readable {kind} file: {error}"}


def _headers(file: str, kind: str) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar, one after another."""
    before = -1
    with (
        StorageFile(file) as opened,
        _Headers(_content(opened, kind)) as buffered,
        tarfile.open(
            fileobj=buffered, mode="r:", encoding="utf-8", tarinfo=_WithoutMaps
        ) as archive,
    ):
        for member in archive:
            if member.offset <= before or member.size < 0:
                raise tarfile.ReadError(f"its headers lead back from byte {before}")
            before = member.offset
            yield member
            archive.members = []  # type: ignore[attr-defined]  # it would keep them all
        buffered.seek(archive.offset)
        _check_end(buffered.read(PADDING), archive.offset)


def _content(file: StorageFile, kind: str) -> RangeFile:
    """The bytes of a tar, for a pass over its headers."""
    if kind != "tar":
        return Unpacked(file, kind)
    return file if file.is_local else ReadAhead(file)


def _check_end(rest: bytes, offset: int) -> None:
    """Raise unless a tar ends as it should: tarfile takes a damaged header for the end, too."""
    if not rest:
        raise tarfile.ReadError(f"it has no end mark at byte {offset}; it may have been cut off")
    if rest[: tarfile.BLOCKSIZE].strip(b"\0"):
        raise tarfile.ReadError(f"no header where one is due, at byte {offset}")
    if rest.strip(b"\0"):
        raise tarfile.ReadError(f"more bytes follow its end mark at byte {offset}: another tar?")


def _row(member: tarfile.TarInfo, kind: str, version: str) -> dict[str, Any]:
    row = {"name": _name(member), "kind": kind, "file_version": version}
    if not member.isreg():
        what = TYPES.get(member.type, f"a member of type {member.type!r}")
        return row | {"reason": "not_a_file", "detail": f"{what} in a tar"}
    if member.issparse():
        return row | {"reason": "unsupported", "detail": "a sparse file in a tar"}
    return row | _place(member, member.offset_data, member.size)


def _place(member: tarfile.TarInfo, offset: int, size: int) -> dict[str, Any]:
    size = min(size, 2**62)  # it may claim more than a column can hold
    return {"offset": offset, "size": size, "version": f"{member.mtime}-{size}"}


def _links(file: str, kind: str, version: str, targets: Targets) -> Iterator[dict[str, Any]]:
    """The hard links of a tar, each with the place of the last file before it of that name."""
    for member in _headers(file, kind):
        name = _name(member)
        place = (member.offset_data, member.size) if member.isreg() else None
        if member.islnk():
            target = _link_name(member)
            place = targets[_key(target)]
            row = {"name": name, "kind": kind, "file_version": version}
            if place is None:
                detail = f"a hard link to {shown(target)}, which is not before it in the tar"
                yield row | {"reason": "unreadable", "detail": detail}
            else:
                yield row | _place(member, *place)
        if (key := _key(name)) in targets:
            targets[key] = place


def _key(name: str) -> bytes:
    """Stands for a name, which may have a megabyte."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def _name(member: tarfile.TarInfo) -> str:
    return _text(member.name)


def _link_name(member: tarfile.TarInfo) -> str:
    return _text(member.linkname)


def _text(name: str) -> str:
    """A name as text. It need not be UTF-8, not even in a PAX header: tarfile keeps other bytes as
    surrogates.
    """
    return text_of(name.encode("utf-8", "surrogateescape"))


def reader(file: StorageFile, kind: str, _max_bytes: int) -> Callable[[Mapping[str, Any]], bytes]:
    """What reads one member of an open tar, packed or not."""
    content: RangeFile = file if kind == "tar" else Unpacked(file, kind)
    return lambda entry: content.read_at(entry["size"], entry["offset"])


class Unpacked(RangeFile):
    """The unpacked bytes of a packed tar. It can be read in any order, but backward from the
    start again.
    """

    def __init__(self, file: StorageFile, kind: str) -> None:
        self._file, self._kind = file, kind
        self._limit = max(MOST_UNPACKED, MOST_TIMES * file.size)
        self._stream: Any = None
        self._at = 0  # of the stream

    def read_at(self, count: int, offset: int) -> bytes:
        """At most `count` bytes from `offset`; fewer where the stream ends."""
        if self._stream is None or offset < self._at:
            self._file.seek(0)
            self._stream, self._at = UNPACKERS[self._kind](self._file), 0
        if min(offset + count, offset + SKIP) > self._limit:
            raise tarfile.ReadError(f"it unpacks to over {MOST_TIMES} times its size")
        while self._at < offset:
            skipped = len(self._stream.read(min(SKIP, offset - self._at)))
            self._at += skipped
            if not skipped:
                return b""
        parts = []
        while count > 0 and (part := self._stream.read(min(SKIP, count))):
            parts.append(bytes(part))
            count -= len(part)
            self._at += len(part)
        return b"".join(parts)


class _WithoutMaps(tarfile.TarInfo):
    """A member whose map of holes, of which there may be gigabytes, is not kept: such a member is
    rejected.
    """

    def _proc_gnusparse_10(self, following: tarfile.TarInfo, *_: Any) -> None:
        following.sparse = b""  # what `issparse` asks

    def _proc_sparse(self, archive: tarfile.TarFile) -> Self:
        *_, is_extended, size = self._sparse_structs  # type: ignore[attr-defined]
        stream = archive.fileobj
        while is_extended:
            block = stream.read(tarfile.BLOCKSIZE)  # type: ignore[union-attr]
            is_extended = len(block) == tarfile.BLOCKSIZE and block[504]
        self.sparse, self.offset_data = b"", stream.tell()  # type: ignore[union-attr]
        archive.offset = self.offset_data + self._block(self.size)  # type: ignore[attr-defined]
        self.size = size
        return self


class _Headers(io.BufferedReader):
    """Reads no more at a time than a header can need, whatever the header claims."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LONGEST_HEADER:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return super().read(size)
