"""What a folder of scores holds: one small JSON file, and each commit writes the next one.

The file with the highest number counts. It is never replaced: some storage can't do that in one
step. The one before stays for readers that have just found it.
"""

import re
from itertools import accumulate
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from skinclf.errors import OwnershipLost, UsageError
from skinclf.storage.files import delete_files, join, list_names, read_json, write_text
from skinclf.storage.score_folder import ScoreFolder
from skinclf.system.retrying import may_pass
from skinclf.system.text import in_one_line

FORMAT = 1
NAME = re.compile(r"(\d{8,})\.json")
TRIES = 10
"""How often a reader looks again where the manifest that it found is gone: one commit each."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class ListingFile(_Part):
    """A file of the listing; `again`: its inputs were listed before, and have an outcome."""

    name: str
    rows: int
    again: bool = False


class TableFile(_Part):
    """A file of scores or rejects."""

    name: str
    rows: int
    bytes: int


class Piece(NamedTuple):
    """`rows` neighboring rows of a file of the listing, from `start` on."""

    name: str
    start: int
    rows: int


class Manifest(_Part):
    """All that counts in a folder of scores. Files are named as they are in their own folders."""

    format: int = FORMAT
    number: int = 0
    spark_paths: tuple[str, ...] = ()  # the archive, where Spark has to read what is listed
    listing: tuple[ListingFile, ...] = ()  # in the order in which it is scored
    done: int = 0  # rows of the listing, from its beginning
    inputs: int = 0  # different ones in the listing
    scores: tuple[TableFile, ...] = ()
    rejects: tuple[TableFile, ...] = ()
    new_scores: tuple[TableFile, ...] = ()  # of inputs that were listed again: they are
    new_rejects: tuple[TableFile, ...] = ()  # pending until they replace the earlier outcomes
    predicted: dict[str, int] = {}  # class → rows of `scores`
    reasons: dict[str, int] = {}  # reason → rows of `rejects`

    @property
    def listed(self) -> int:
        """Rows of the listing."""
        return sum(file.rows for file in self.listing)

    @property
    def listing_done(self) -> tuple[ListingFile, ...]:
        """The files of the listing of which each row is done."""
        ends = accumulate(file.rows for file in self.listing)
        return tuple(file for file, end in zip(self.listing, ends, strict=True) if end <= self.done)

    def files(self, table: str) -> tuple[TableFile, ...]:
        """The files of one of TABLES."""
        found: tuple[TableFile, ...] = getattr(self, table)
        return found

    def new_files(self, table: str) -> tuple[TableFile, ...]:
        """Of one of TABLES, what is to replace earlier outcomes."""
        return self.files(f"new_{table}")

    def counts(self, table: str) -> dict[str, int]:
        """The rows of one of TABLES by class or reason."""
        return self.predicted if table == "scores" else self.reasons

    def next_batch(self, images: int) -> tuple[list[Piece], bool]:
        """At most so many rows that are not done, and whether they were listed again."""
        pieces: list[Piece] = []
        again, first, room = False, 0, images
        for file in self.listing:
            start = max(self.done - first, 0)
            first += file.rows
            if start >= file.rows:
                continue
            if not pieces:
                again = file.again
            if not room or file.again != again:
                break
            pieces.append(Piece(file.name, start, min(file.rows - start, room)))
            room -= pieces[-1].rows
        return pieces, again


def read_manifest(folder: ScoreFolder) -> Manifest:
    """The manifest that counts; an empty one where there is none.

    Raises UsageError where it can't be read.
    """
    for _ in range(TRIES):
        numbers = _numbers(folder)
        if not numbers:
            return Manifest()
        path = _path(folder, numbers[-1])
        try:
            return _parsed(path, read_json(path))
        except FileNotFoundError:  # two commits came since: there are newer ones
            continue
        except (OSError, ValueError) as error:
            if may_pass(error):
                raise
            raise UsageError(f"{path}: can't be read: {in_one_line(error)}") from None
    raise UsageError(f"{folder.manifests}: each manifest was gone when it was read; try again")


def _parsed(path: str, stored: object) -> Manifest:
    form = stored.get("format") if isinstance(stored, dict) else None
    if form != FORMAT:
        raise UsageError(
            f"{path}: its format is {form}, {FORMAT} is expected: another version "
            f"of skinclf wrote it. Name another folder (score.output), or remove this one"
        )
    return Manifest.model_validate(stored)


def write_manifest(folder: ScoreFolder, manifest: Manifest) -> Manifest:
    """Commit: from here on the folder holds what `manifest` says → it with its number.

    Raises OwnershipLost where another job has committed since: no manifest is ever replaced.
    """
    if any(number > manifest.number for number in _numbers(folder)):
        raise OwnershipLost(f"{folder.path}: another job has written scores here; this one ends")
    numbered = manifest.model_copy(update={"number": manifest.number + 1})
    write_text(_path(folder, numbered.number), numbered.model_dump_json(indent=1) + "\n")
    if numbered.number > 2:
        delete_files([_path(folder, numbered.number - 2)])
    return numbered


def clear_manifests(folder: ScoreFolder, manifest: Manifest) -> None:
    """Delete all that a job which was killed may have left of manifests before this one."""
    numbers = [number for number in _numbers(folder) if number < manifest.number - 1]
    delete_files([_path(folder, number) for number in numbers])


def _numbers(folder: ScoreFolder) -> list[int]:
    matches = map(NAME.fullmatch, list_names(folder.manifests))
    return sorted(int(match[1]) for match in matches if match)


def _path(folder: ScoreFolder, number: int) -> str:
    return join(folder.manifests, f"{number:08}.json")
