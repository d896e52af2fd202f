"""The kinds of archives that are looked into, by the ending of a file's name."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from skinclf.archives import parquets, tars, zips
from skinclf.archives.files import StorageFile

Row = dict[str, Any]
"""A row of LISTING, or a part of one."""

ReadMember = Callable[[Mapping[str, Any]], bytes]
"""A listed member → its bytes, fewer where the archive ends. Raises RejectedImage."""


class ArchiveFormat(NamedTuple):
    """A kind of archive: how its members are listed, and how one is read by its place."""

    endings: dict[str, str]
    """Ending of a file's name, in lower case → `kind` of its members in LISTING."""

    members: Callable[[str], Iterator[Row]]
    """A file → a row for each member, with `name`, `kind`, `file_version`, `version` and its place;
    where the archive is damaged, a last row with `reason` and `detail` and without `name`. Memory
    must not grow with their number."""

    reader: Callable[[StorageFile, str, int], ReadMember]
    """An open file, the kind of its members and the most bytes that one may have → what reads one.
    Reading in the order of the listing has to be fast."""


FORMATS = [
    ArchiveFormat(zips.ENDINGS, zips.members, zips.reader),
    ArchiveFormat(tars.ENDINGS, tars.members, tars.reader),
    ArchiveFormat(parquets.ENDINGS, parquets.rows, parquets.reader),
]
"""The registry: another kind of archive is a file beside this one and one more entry."""


PACKED = (".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""Endings of packed files and of archives that are in no registry."""


def format_of_file(name: str) -> ArchiveFormat | None:
    """The format of a file by its name; None for a plain file."""
    name = name.lower()
    return next((form for form in FORMATS if name.endswith(tuple(form.endings))), None)


def is_archive(name: str) -> bool:
    """Whether a file is one with others in it, or is packed, by its name."""
    return format_of_file(name) is not None or name.lower().endswith(PACKED)


def format_of_kind(kind: str) -> ArchiveFormat:
    """The format whose members are of a kind."""
    return next(form for form in FORMATS if kind in form.endings.values())
