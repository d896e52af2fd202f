"""What there is to read: one row a file, wherever it lies."""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from skinclf.archives import lists
from skinclf.archives.folders import Found, Walk
from skinclf.archives.formats import Row, format_of_file, is_archive
from skinclf.archives.names import LONGEST_NAME, Selection, image_id_of, shown
from skinclf.errors import ArchiveError, ConfigError
from skinclf.spec.rejects import RejectedImage
from skinclf.storage.files import local_path, locate, name_of, source_of, uri
from skinclf.system.uris import is_uri

LISTING = pa.schema(
    [
        ("source", pa.string()),  # see source_of; of a member archive.zip!/member.jpg
        ("image_id", pa.string()),  # the file's name without its ending
        ("file", pa.string()),  # URI of the file to open: the image, or the archive that holds it
        ("member", pa.int64()),  # its number in the archive that holds it; null: in none
        ("file_version", pa.string()),  # of the archive that holds it, when it was listed
        ("kind", pa.string()),  # file, zip, tar, tar.gz, …, parquet; spark: read by it
        ("size", pa.int64()),  # bytes of the image file, unpacked; null: not known before reading
        ("offset", pa.int64()),  # where it begins in the archive; of Parquet: the row's number
        ("packed_size", pa.int64()),  # bytes in the zip
        ("method", pa.int32()),  # compression method of the zip format
        ("crc", pa.int64()),  # CRC-32 of the unpacked bytes, in a zip
        ("version", pa.string()),  # changes when the image does: time of change and size, or CRC
        ("reason", pa.string()),  # why it can't be read at all; null for nearly every file
        ("detail", pa.string()),
    ]
)
"""One row a file that is to become an image. A `source` identifies one row: the second member of
one name in an archive is archive.zip!/member.jpg#2 (REPEATED). A member that is called so itself
(LIKE_REPEATED) is archive.zip!/member.jpg#2#1."""

REPEATED = "{}#{}"
LIKE_REPEATED = r"#[0-9]+(?![\s\S])"  # for Python and Java alike, whose \d and $ differ

UNSUPPORTED = (".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".z", ".cab", ".iso")
"""Endings of archives and packed files that are not read; a packed tar is, and has its own."""

NESTED = {"reason": "nested_archive", "detail": "an archive in an archive is not opened"}
"""What is known of a member that is an archive itself."""


def list_images(
    paths: Iterable[str], leave_out: Sequence[str] = (), selection: Selection | None = None
) -> pa.Table:
    """The whole of `iter_images` as LISTING. Raises ArchiveError where nothing is found."""
    paths = list(paths)
    return listing_of(iter_images(paths, leave_out, selection), paths)


def listing_of(rows: Iterable[Row], paths: Sequence[str]) -> pa.Table:
    """Rows that were found in `paths` as LISTING: neighbors together, each source once."""
    by_place = {(row["source"], row["member"]): row for row in rows}
    if not by_place:
        raise ArchiveError(f"no files in {', '.join(paths) or 'archive.paths, which is empty'}")
    ordered = sorted(by_place.values(), key=lambda row: (row["file"], row["member"] or 0))
    seen: Counter[str] = Counter()
    for row in ordered:
        source = row["source"]
        seen[source] += 1
        ambiguous = row["member"] is not None and re.search(LIKE_REPEATED, source)
        if seen[source] > 1 or ambiguous:
            row["source"] = REPEATED.format(source, seen[source])
    return pa.Table.from_pylist(ordered, schema=LISTING)


def iter_images(
    paths: Iterable[str | Iterator[str]],
    leave_out: Sequence[str] = (),
    selection: Selection | None = None,
) -> Iterator[Row]:
    """Every image file of `paths`, row by row of LISTING: memory does not grow with their number.

    `paths`: folders (recursively), zip, tar and Parquet files, lists of URIs (.txt, .csv), single
    files and local globs; in place of a path, an iterator over the names in a table. Every file
    counts, whatever its name, save those in `leave_out` (the metadata, and the folder that the job
    writes to) and those that `selection` does not take: what is no image becomes a reject when it
    is read. Each real file comes once, whatever links lead to it (see Walk); `selection` counts the
    other links. A file that two paths name comes twice, and so does a `source` that two members of
    an archive have, each with its number (`member`). Raises ArchiveError where a path does not
    exist, and StorageUnavailable.
    """
    selection = selection or Selection()
    skipped = {source_of(uri(path)) for path in leave_out if path}
    walk = Walk(leave_out, selection)
    for found in _files(paths, walk):
        source = source_of(found.file)
        if source in skipped or (found.below and selection.excludes(found.name)):
            continue
        for row, member in _rows(found, source):
            if member is not None and selection.excludes(member):
                continue
            # Of archives, whatever is in them that can't be read is a reject.
            rejected = row["reason"] is not None and (member is not None or is_archive(found.name))
            if rejected:
                yield row
            elif selection.is_included(member or found.name):
                yield row | NESTED if member is not None and is_archive(member) else row
    selection.repeated_links += walk.repeated_links


def check_paths(paths: Iterable[str]) -> None:
    """Raise ArchiveError for a path that does not exist or a list that names no files.

    Opens no archive: it takes a moment, however many images there are. Tables are Spark's to check.
    """
    for path in paths:
        if not path.startswith(lists.TABLE):
            next(_files([path], Walk()), None)


def check_apart(paths: Iterable[str], output: str, setting: str) -> None:
    """Raise ConfigError where a job would write into what it reads: that is left out, and nothing
    is there to read.
    """
    if _place(output) in map(_place, paths):
        raise ConfigError(f"{setting}: {output} is the archive itself; name another folder")


def _place(path: str) -> str:
    """What is the same for all names of one folder."""
    local = local_path(path)
    return path.rstrip("/") if local is None else os.path.realpath(local)


def _files(paths: Iterable[str | Iterator[str]], walk: Walk) -> Iterator[Found]:
    """The files that paths name. Raises ArchiveError."""
    for path in paths:
        if not isinstance(path, str):
            yield from lists.files_named(path)
            continue
        # A glob that may find anything finds no lists, but images beside texts and tables.
        may_be_list = name_of(path).lower().endswith(lists.ENDINGS)
        for found in expanded(path):
            listed = may_be_list and _is_file(found)
            yield from lists.files_of_list(found) if listed else walk.files(found)
    yield from walk.linked()


def expanded(path: str) -> list[str]:
    """What a path names: itself, or what a local glob finds. Raises ArchiveError if that is
    nothing.
    """
    if is_uri(path) or not glob.has_magic(path) or os.path.exists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise ArchiveError(f"{path}: no file has such a name")
    return found


def _is_file(path: str) -> bool:
    local = local_path(path)
    if local is not None:
        return os.path.isfile(local)
    file_system, inner = locate(path)
    return bool(file_system.get_file_info(inner).is_file)


def _rows(found: Found, source: str) -> Iterator[tuple[Row, str | None]]:
    """The rows of a file, itself or what is in it; the latter with their names there."""
    plain = dict.fromkeys(LISTING.names) | {
        "source": source,
        "image_id": image_id_of(found.name),
        "file": found.file,
        "kind": "file",
        "size": found.size,
        "version": found.version,
        "reason": found.reason,
        "detail": found.detail,
    }
    name = found.name.lower()
    form = format_of_file(name)
    if found.reason is not None:
        yield plain, None
    elif form is not None:
        yield from _inside(plain, form.members)
    elif name.endswith(UNSUPPORTED):
        detail = (
            f"{name.rpartition('.')[2]} files are not read: unpack it, or pack it as zip or tar"
        )
        yield plain | {"reason": "unsupported", "detail": detail}, None
    else:
        yield plain, None


def _inside(
    plain: Row, members: Callable[[str], Iterator[Row]]
) -> Iterator[tuple[Row, str | None]]:
    """The members of an archive with their names; where it is damaged, one reject in the end."""
    count = 0
    try:
        for member in members(plain["file"]):
            name = member.pop("name", None)
            row = plain | {"size": None} | member
            if name is not None:
                if len(name) > LONGEST_NAME:
                    detail = (
                        f"its name has {len(name):,} characters; up to {LONGEST_NAME:,} are read"
                    )
                    row |= {"reason": "unreadable", "detail": detail}
                    name = shown(name)
                row |= {"source": f"{plain['source']}!/{name}", "image_id": image_id_of(name)}
                row["member"] = count
                count += 1
            elif count:
                row["detail"] += f" (after {count:,} members)"
            yield row, name
    except RejectedImage as rejected:
        yield plain | {"reason": rejected.reason, "detail": rejected.detail}, None
