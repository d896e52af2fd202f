"""Images in a folder for each class: the id that an image has by its path."""

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote_to_bytes

from skinclf.archives.formats import Row, format_of_file
from skinclf.archives.listing import expanded
from skinclf.archives.names import image_id_of, text_of
from skinclf.storage.files import source_of, uri
from skinclf.system.text import normalized
from skinclf.system.uris import distinct_ends

SCHEME = re.compile(r"^[A-Za-z][\w+.-]*:(//)?")  # Hadoop has file:/photos

BELOW = 2
"""How many parts of the path of a file that was named itself follow the folder with which its id
begins: of photos/train/mel/1.jpg that is train, and the id train/mel/1."""


def with_path_ids(rows: Iterable[Row], paths: Sequence[str]) -> Iterator[Row]:
    """Rows of LISTING found in `paths`, each with its path as `image_id`: see PathIds."""
    ids = PathIds(paths)
    for row in rows:
        yield row | {"image_id": ids.of(row)}


class PathIds:
    """The path of a listed file from the path that was named on, without its ending.

    Photographs of two classes may have one name, and so may those of train/ and val/: of
    photos/train/mel/1.jpg, found in photos/train, the id is train/mel/1. Of named paths that end
    alike, ids have as many more parts as tell these apart: north/photos/mel/1 and
    south/photos/mel/1. An archive is a folder called like the archive without its ending.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        """Raises ArchiveError for a local glob that finds nothing."""
        places = [_place(uri(found)) for path in paths for found in expanded(path)]
        # What is called like an archive may be a folder.
        self._roots = distinct_ends([*places, *map(_without_ending, places)])
        self._roots_of_single_files = distinct_ends(p.rsplit("/", BELOW)[0] for p in places)

    def of(self, row: Row) -> str:
        """The id of a row of LISTING."""
        parts = _place(row["file"]).split("/")
        inside = []
        if row["member"] is not None:
            name = row["source"].removeprefix(f"{source_of(row['file'])}!/")
            inside = [part for part in name.split("/") if part not in ("", ".", "..")]
            parts[-1] = _without_ending(parts[-1])
        start = self._start(parts if inside else parts[:-1])
        if start is None:  # a single file, or one of a list
            root = len(parts) - (not inside and BELOW)
            start = root - self._roots_of_single_files.get("/".join(parts[:root]), 1)
        *folders, name = filter(None, [*parts[max(start, 0) :], *inside])
        return "/".join([*map(normalized, folders), image_id_of(name)])

    def _start(self, folders: Sequence[str]) -> int | None:
        """Which part of a path its id begins with, by the first root that is one of its folders."""
        # Spark names the host of a URI that was named without one: hdfs:///photos.
        for parts in (folders, ["", *folders[1:]]):
            for count in range(1, len(parts) + 1):
                kept = self._roots.get("/".join(parts[:count]))
                if kept is not None:
                    return count - kept
        return None


def _place(file: str) -> str:
    """A URI as text without its scheme, which Spark and pyarrow write in several ways."""
    path = SCHEME.sub("", file.partition("?")[0])
    return text_of(unquote_to_bytes(path)).rstrip("/")


def _without_ending(name: str) -> str:
    form = format_of_file(name)
    endings = sorted(form.endings, key=len, reverse=True) if form else ()
    lower = name.lower()
    return next((name[: -len(end)] for end in endings if lower.endswith(end)), name)
