"""What there is to read: one row a file, wherever it lies."""

import csv
import fnmatch
import glob
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import fs

from skinclf.archive import parquets, tars, zips
from skinclf.errors import ArchiveError
from skinclf.storage import join, locate, uri

LISTING = pa.schema(
    [
        ("source", pa.string()),  # URI of the file; a member is archive.zip!/member.jpg
        ("image_id", pa.string()),  # the file's name without its ending
        ("file", pa.string()),  # URI of the file to open: the image, or the archive that holds it
        ("kind", pa.string()),  # file, zip, tar, tar.gz, parquet; spark: read by it
        ("size", pa.int64()),  # bytes of the image file, unpacked; null: not known before reading
        ("offset", pa.int64()),  # where it begins in the archive; of Parquet: the row's number
        ("packed_size", pa.int64()),  # bytes in the zip
        ("method", pa.int32()),  # compression method of the zip format
        ("crc", pa.int64()),  # CRC-32 of the unpacked bytes, in a zip
        ("stamp", pa.string()),  # changes when the image does: time of change, or checksum
        ("defect", pa.string()),  # why it can't be read at all; null for nearly every file
    ]
)
"""One row a file that is to become an image. A `source` stands for one row: the second member of
one name in an archive is archive.zip!/member.jpg#2 (REPEATED)."""

REPEATED = "{}#{}"

Row = dict[str, Any]

MEMBERS = {
    ".zip": zips.members,
    ".tar": tars.members,
    ".tar.gz": tars.members,
    ".tgz": tars.members,
    ".parquet": parquets.rows,
}
"""What lists the images inside a file, by the ending of its name."""

LISTS = (".txt", ".csv")
URI_COLUMNS = ("uri", "path", "source", "file")
CHUNK = 1000


def list_images(
    paths: Iterable[str], leave_out: Sequence[str] = (), include: Sequence[str] = ()
) -> pa.Table:
    """The whole of `iter_images` as LISTING. Raises ArchiveError where nothing is found."""
    paths = list(paths)
    return listing_of(iter_images(paths, leave_out, include), paths)


def listing_of(rows: Iterable[Row], paths: Sequence[str]) -> pa.Table:
    """Rows that were found in `paths` as LISTING: neighbours together, each source once."""
    by_place = {(row["source"], row["offset"]): row for row in rows}
    if not by_place:
        raise ArchiveError(f"no files in {', '.join(paths) or 'archive.paths, which is empty'}")
    ordered = sorted(by_place.values(), key=lambda row: (row["file"], row["offset"] or 0))
    seen: Counter[str] = Counter()
    for row in ordered:
        source = row["source"]
        seen[source] += 1
        if seen[source] > 1:
            row["source"] = REPEATED.format(source, seen[source])
    return pa.Table.from_pylist(ordered, schema=LISTING)


def iter_images(
    paths: Iterable[str], leave_out: Sequence[str] = (), include: Sequence[str] = ()
) -> Iterator[Row]:
    """Every image file of `paths`, row by row of LISTING: memory does not grow with their number.

    `paths`: folders (recursively), zip, tar and Parquet files, lists of URIs (.txt, .csv), single
    files and local globs. Every file counts, whatever its name, save those in `leave_out` (the
    metadata) and, where `include` has patterns such as "*.jpg", those that none of them fits:
    what is no image becomes a reject when it is read. A file that two paths name comes twice, and
    so does a `source` that two members of an archive have, each with its `offset`.
    Raises ArchiveError where a path does not exist.
    """
    skipped = {uri(path) for path in leave_out if path}
    for file, info in chain.from_iterable(map(_files, paths)):
        if file not in skipped:
            yield from (row for row in _rows(file, info) if fits(row, include))


def check_paths(paths: Iterable[str]) -> None:
    """Raise ArchiveError for a path that does not exist or a list that names no files.

    Opens no archive: it takes a moment, however many images there are.
    """
    for path in paths:
        next(_files(path), None)


def fits(row: Row, include: Sequence[str]) -> bool:
    """Whether a row is wanted, by the patterns. What is defect is: it has to be told."""
    name = row["source"].rpartition("/")[2].lower()
    return (
        not include
        or row["defect"] is not None
        or any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in include)
    )


def _rows(file: str, info: fs.FileInfo) -> Iterator[Row]:
    """The rows of a file: itself, or what is in it."""
    plain = dict.fromkeys(LISTING.names) | {
        "source": file,
        "image_id": PurePosixPath(info.path).stem,
        "file": file,
        "kind": "file",
        "size": info.size,
        "stamp": str(info.mtime_ns),
    }
    name = file.lower()
    inside = next((MEMBERS[ending] for ending in MEMBERS if name.endswith(ending)), None)
    if info.type == fs.FileType.NotFound:
        yield plain | {"defect": "there is no such file"}
    elif inside is None:
        yield plain
    else:
        for count, member in enumerate(inside(file)):
            within = member.pop("name", None)
            row = plain | {"size": None} | member
            if within is not None:
                row["source"] = f"{file}!/{within}"
                row["image_id"] = PurePosixPath(within).stem
            elif count:
                row["defect"] += f" (after {count:,} members)"
            yield row


def _files(path: str) -> Iterator[tuple[str, fs.FileInfo]]:
    """The files that a path stands for, as (URI, info). Raises ArchiveError."""
    for expanded in _expand(path):
        listed = expanded.lower().endswith(LISTS) and _is_file(expanded)
        yield from _files_of_list(expanded) if listed else _files_below(expanded)


def _expand(path: str) -> list[str]:
    if "://" in path or not glob.has_magic(path) or os.path.exists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise ArchiveError(f"{path}: no file has such a name")
    return found


def _is_file(path: str) -> bool:
    file_system, inner = locate(path)
    return bool(file_system.get_file_info(inner).type == fs.FileType.File)


def _files_below(path: str) -> Iterator[tuple[str, fs.FileInfo]]:
    """Every file of a folder, or the one file that `path` is, as (URI, info).

    Folder by folder, so that one folder's entries are held at a time.
    """
    file_system, inner = locate(path)
    info = file_system.get_file_info(inner)
    if info.type == fs.FileType.NotFound:
        raise ArchiveError(f"{path}: no such file or folder; expected images, or a zip of images")
    root = uri(path).rstrip("/")
    if info.type == fs.FileType.File:
        yield root, info
        return
    folders = [inner]
    while folders:
        below = file_system.get_file_info(fs.FileSelector(folders.pop()))
        for entry in sorted(below, key=lambda entry: entry.path):
            if entry.type == fs.FileType.Directory:
                folders.append(entry.path)
            elif entry.type == fs.FileType.File:
                name = entry.path.removeprefix(inner.rstrip("/")).lstrip("/")
                local = root.startswith("file://")
                yield (uri(entry.path) if local else f"{root}/{name}"), entry


def _files_of_list(path: str) -> Iterator[tuple[str, fs.FileInfo]]:
    """The files that a list names: a line each, or a column of a CSV with a header.

    Relative paths are taken from the list's own folder.
    """
    folder = path.rpartition("/")[0] or "."
    names = (
        name if "://" in name or name.startswith("/") else join(folder, name)
        for name in _names_in(path)
    )
    while chunk := list(islice(names, CHUNK)):
        by_system: dict[Any, list[str]] = {}
        for name in chunk:
            by_system.setdefault(name.partition("://")[0] if "://" in name else "", []).append(name)
        for group in by_system.values():
            places = [locate(name) for name in group]
            infos = places[0][0].get_file_info([inner for _, inner in places])
            yield from zip(map(uri, group), infos, strict=True)


def _names_in(path: str) -> Iterator[str]:
    """The names in a list, line by line: it may have millions."""
    file_system, inner = locate(path)
    with (
        file_system.open_input_file(inner) as opened,
        io.TextIOWrapper(io.BufferedReader(opened), encoding="utf-8", newline="") as text,
    ):
        if not path.lower().endswith(".csv"):
            yield from filter(None, map(str.strip, text))
            return
        reader = csv.DictReader(text)
        column = next((n for n in URI_COLUMNS if n in (reader.fieldnames or ())), None)
        if column is None:
            raise ArchiveError(
                f"{path}: has the columns {', '.join(reader.fieldnames or ())}; a list of images "
                f"names them in one of {', '.join(URI_COLUMNS)}"
            )
        yield from filter(None, (str(row[column]).strip() for row in reader))
