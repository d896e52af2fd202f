"""Images and lesions that are one lesion, though the metadata gives them several ids."""

import csv
from collections.abc import Iterable, Sequence

from skinclf.archives.files import encoding_of
from skinclf.archives.metadata import DELIMITERS
from skinclf.archives.names import without_image_ending
from skinclf.config.loader import shipped_config
from skinclf.errors import MetadataError
from skinclf.storage.files import read_bytes
from skinclf.system.retrying import may_pass
from skinclf.system.text import normalized

SHIPPED = {"ham10000": "ham10000-same-lesion.csv"}
"""Lists that come with the package, by the value of archive.same_lesion."""


def read_groups(name: str) -> list[list[str]]:
    """The groups of ids in a list: a file, or one of SHIPPED; "" has none.

    Each line of the CSV names two or more images or lesions, between commas, tabs or semicolons,
    images with their files' endings or without.
    It is UTF-8, or UTF-16 with its mark, as spreadsheets write it. Raises MetadataError where a
    line has fewer, or where the file can't be read.
    """
    if not name:
        return []
    path = shipped_config(SHIPPED[name]) if name in SHIPPED else name
    try:
        content = read_bytes(path)
        lines = content.decode(encoding_of(content)).splitlines()
    except (OSError, ValueError) as error:
        if may_pass(error):
            raise
        raise MetadataError(
            f"archive.same_lesion: {path} can't be read ({error}); expected is a CSV whose lines "
            f"name the images or lesions that are one lesion, or {' or '.join(SHIPPED)}"
        ) from None
    groups = []
    rows = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]
    delimiter = next((d for d in DELIMITERS if any(d in line for _, line in rows)), DELIMITERS[0])
    for number, line in rows:
        try:
            fields = next(csv.reader([line], delimiter=delimiter, strict=True))
            group = list(filter(None, map(without_image_ending, map(normalized, fields))))
        except csv.Error as error:
            raise MetadataError(f"{path}: line {number}: {error}") from None
        if len(set(group)) < 2:
            raise MetadataError(f"{path}: line {number}: two or more ids are expected")
        groups.append(group)
    return groups


class SameLesions:
    """Merges the lesions of groups, as far as the rows of the metadata tell which these are."""

    def __init__(self, groups: Iterable[Sequence[str]]) -> None:
        self._parents: dict[str, str] = {}
        self.unknown: set[str] = set()  # ids that no row has had so far
        self._lesions: set[str] = set()  # of these groups, and images without one
        for first, *others in groups:
            self.unknown.update((first, *others))
            for other in others:
                self._join(first, other)

    def add(self, image_id: str, lesion_id: str | None) -> None:
        """Take a row of the metadata into account."""
        key = lesion_id or image_id
        for member in (image_id, lesion_id):
            if member in self._parents:
                self.unknown.discard(member)
                self._join(member, key)
                self._lesions.add(key)

    def group_of(self, member: str) -> str | None:
        """What is the same for all ids that are one lesion; None for an id that no group has."""
        return self._root(member) if member in self._parents else None

    def merged(self) -> dict[str, str]:
        """Lesion, or image without one → the lesion that it is, of two or more that are one: the
        first by name.
        """
        groups: dict[str, list[str]] = {}
        for lesion in sorted(self._lesions):
            groups.setdefault(self._root(lesion), []).append(lesion)
        return {lesion: group[0] for group in groups.values() if len(group) > 1 for lesion in group}

    def _root(self, member: str) -> str:
        while self._parents.setdefault(member, member) != member:
            self._parents[member] = self._parents[self._parents[member]]  # so that ways stay short
            member = self._parents[member]
        return member

    def _join(self, one: str, other: str) -> None:
        self._parents[self._root(one)] = self._root(other)
