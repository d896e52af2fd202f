"""Images in a folder for each class: the id that an image has by its path."""

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote_to_bytes

from skinclf.archives.formats import Row, format_of_file
from skinclf.archives.names import image_id_of, normalized, text_of
from skinclf.storage.files import uri

SCHEME = re.compile(r"^[A-Za-z][\w+.-]*:(//)?")  # Hadoop has file:/photos

PARTS = 3
"""Of the id of a file that no folder of the archive's paths holds: train/mel/1."""


def with_path_ids(rows: Iterable[Row], paths: Sequence[str]) -> Iterator[Row]:
    """Rows of LISTING found in `paths`, each with `image_id_by_path`."""
    roots = {_place(uri(path)) for path in paths}
    for row in rows:
        yield row | {"image_id": image_id_by_path(row, roots)}


def image_id_by_path(row: Row, roots: Iterable[str]) -> str:
    """The path of a listed file from the path that was named on, without its ending.

    Photographs of two classes may have one name, and so may those of train/ and val/: of
    photos/train/mel/1.jpg, found in photos/train, the id is train/mel/1. An archive is a folder
    called like the archive without its ending. `roots`: the named paths, as `_place` has them.
    """
    parts = _place(row["file"]).split("/")
    inside = []
    if row["member"] is not None:
        name = row["source"].removeprefix(f"{row['file']}!/")
        inside = [part for part in name.split("/") if part not in ("", ".", "..")]
        parts[-1] = _without_ending(parts[-1])
    # Spark names the host of a URI that was named without one: hdfs:///photos.
    root = _depth(parts, roots) or _depth(["", *parts[1:]], roots)
    last = 1 if inside else PARTS
    parts = parts[root - 1 :] if root else parts[-last:]
    *folders, name = filter(None, [*parts, *inside])
    return "/".join([*map(normalized, folders), image_id_of(name)])


def _depth(parts: Sequence[str], roots: Iterable[str]) -> int | None:
    """How many of a path's parts are the first root that it lies below."""
    return next((n for n in range(1, len(parts)) if "/".join(parts[:n]) in roots), None)


def _place(file: str) -> str:
    """A URI as text without its scheme, which Spark and pyarrow write in several ways."""
    path = SCHEME.sub("", file.partition("?")[0])
    return text_of(unquote_to_bytes(path)).rstrip("/")


def _without_ending(name: str) -> str:
    form = format_of_file(name)
    endings = sorted(form.endings, key=len, reverse=True) if form else ()
    lower = name.lower()
    return next((name[: -len(end)] for end in endings if lower.endswith(end)), name)
