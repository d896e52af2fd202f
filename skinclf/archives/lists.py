"""Lists of images: a name a line (.txt), or a column of a CSV with a header or of a table."""

import csv
import io
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from skinclf.archives.files import StorageFile, encoding_of
from skinclf.archives.folders import Found, local_file, remote_file
from skinclf.archives.names import text_of
from skinclf.errors import ArchiveError, InvalidUri, UnknownStorage
from skinclf.spec.rejects import RejectedImage
from skinclf.storage.files import below, join, local_path, locate, name_of, parent
from skinclf.system.retrying import retried
from skinclf.system.uris import is_uri

ENDINGS = (".txt", ".csv")
TABLE = "table:"
"""How a table of Spark's catalog is named among paths: table:catalog.schema.images."""

URI_COLUMNS = ("uri", "path", "source", "file")
UNREACHED = (UnknownStorage, InvalidUri, pa.ArrowException, OSError, ValueError, KeyError)
"""What locating a name raises that is no file anywhere."""

CHUNK = 1000
"""Names that are looked up together."""


def files_of_list(path: str) -> Iterator[Found]:
    """The files that a list names. Relative paths are taken from the list's own folder."""
    folder = parent(path)
    in_folder = below if is_uri(folder) else join  # a name is no part of a URI before it is encoded
    return files_named(
        name if is_uri(name) or name.startswith("/") else in_folder(folder, name)
        for name in _names_in(path)
    )


def files_named(names: Iterable[str]) -> Iterator[Found]:
    """The files that paths and URIs name."""
    names = iter(names)
    while chunk := list(islice(names, CHUNK)):
        by_system: dict[tuple[str, ...] | None, list[str]] = {}
        for name in chunk:
            by_system.setdefault(file_system_of(name), []).append(name)
        for system, group in by_system.items():
            if system is None:
                yield from (local_file(local_path(name) or "") for name in group)
            else:
                yield from _remote(group)


def file_system_of(name: str) -> tuple[str, ...] | None:
    """What identifies the file system of a URI: scheme, authority (host, bucket) and options;
    None for a local file.
    """
    if local_path(name) is not None:
        return None
    try:
        parts = urlsplit(name)
    except ValueError:  # no URI; locating it says why
        return (name,)
    return parts.scheme, parts.netloc, parts.query


def _remote(names: list[str]) -> Iterator[Found]:
    """What the files of one file system are."""
    # A URI has no bytes that are not ASCII, whatever the list has.
    names = [text_of(name.encode("utf-8", "surrogateescape")) for name in names]
    places = {}
    for name in names:
        try:
            places[name] = locate(name)
        except UNREACHED as error:
            yield Found(name, name_of(name), reason="unreadable", detail=str(error))
    if places:
        first, (file_system, _) = next(iter(places.items()))
        paths = [inner for _, inner in places.values()]
        try:
            infos = retried(lambda: file_system.get_file_info(paths), first)
        except OSError:  # one of them is refused, which does not say which
            yield from (_one(name, file_system, inner) for name, (_, inner) in places.items())
        else:
            yield from map(remote_file, places, infos)


def _one(name: str, file_system: fs.FileSystem, path: str) -> Found:
    """What a URI is, or why the storage refuses to say so."""
    try:
        return remote_file(name, retried(partial(file_system.get_file_info, path), name))
    except OSError as error:
        return Found(name, name_of(name), reason="unreadable", detail=str(error))


def _names_in(path: str) -> Iterator[str]:
    """The names in a list, line by line: it may have millions. UTF-8, or UTF-16 with its mark.

    Raises ArchiveError where it can't be read.
    """
    try:
        yield from _lines_of(path)
    except (RejectedImage, UnicodeError) as error:
        raise ArchiveError(f"{path}: this list of images can't be read: {error}") from None


def _lines_of(path: str) -> Iterator[str]:
    with (
        StorageFile(path) as opened,
        io.TextIOWrapper(
            io.BufferedReader(opened),
            encoding=encoding_of(opened.read_at(2, 0)),
            errors="surrogateescape",  # a POSIX name need not be UTF-8
            newline="",
        ) as text,
    ):
        if not name_of(path).lower().endswith(".csv"):
            yield from filter(None, (line.strip() for line in text))
            return
        reader = csv.DictReader(text)
        try:
            columns = reader.fieldnames or ()
            column = next((n for n in URI_COLUMNS if n in columns), None)
            if column is None:
                raise ArchiveError(
                    f"{path}: has the columns {', '.join(columns)}; a list of images "
                    f"names them in one of {', '.join(URI_COLUMNS)}"
                )
            yield from filter(None, ((row[column] or "").strip() for row in reader))
        except csv.Error as error:
            raise ArchiveError(f"{path}: line {reader.line_num + 1}: {error}") from None
