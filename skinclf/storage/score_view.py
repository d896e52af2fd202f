"""A model's scores and rejects exactly as its manifest has them, at any moment."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from skinclf.errors import UsageError
from skinclf.storage.files import exists, join, list_names
from skinclf.storage.parquet_files import column_names, iter_rows_with, iter_tables, opened
from skinclf.storage.score_folder import REJECTED, SCORES, ScoreFolder
from skinclf.storage.score_manifest import TRIES, read_manifest

PAUSE = 0.05
"""Seconds between the tries to read what was replaced meanwhile."""

T = TypeVar("T")


def read_scores(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """All scores in a model's folder (scores/MODEL): each image once, at any moment.

    `columns`: only these. Raises UsageError where there are none.
    """
    return _exactly(path, SCORES, lambda files: _read(files, columns))


def read_rejects(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """All rejects in a model's folder: see `read_scores`."""
    return _exactly(path, REJECTED, lambda files: _read(files, columns))


def scan_scores(path: str, scan: Callable[[Iterator[pa.Table]], T]) -> T:
    """What `scan` makes of all scores in a model's folder, which it gets in row groups.

    Memory stays flat. `scan` is called again where files were replaced meanwhile: it has to start
    anew then. Raises UsageError where there are none.
    """
    return _exactly(path, SCORES, lambda files: scan(_row_groups(files)))


def scan_rejects(path: str, scan: Callable[[Iterator[pa.Table]], T]) -> T:
    """The same of all rejects."""
    return _exactly(path, REJECTED, lambda files: scan(_row_groups(files)))


def rows_of_listing(path: str, sources: Sequence[str]) -> list[dict[str, Any]]:
    """What a model's folder knows of where `sources` are: their rows of the listing, in any order.

    Of a source that was listed more than once it is the last row.
    """
    folder, wanted = ScoreFolder(path), pa.array(sources, pa.string())
    found: dict[str, dict[str, Any]] = {}
    for listing in read_manifest(folder).listing:
        file = join(folder.listing, listing.name)
        for rows in iter_rows_with(file, wanted, "source", column_names(file)):
            found.update((row["source"], row) for row in rows.to_pylist())
    return list(found.values())


def score_files(path: str) -> list[str]:
    """The Parquet files of all scores in a model's folder, for a reader of one's own.

    While a job runs, they may be gone a moment later: then ask again.
    """
    return _exactly(path, SCORES, lambda files: files)


def check_scores(folder: ScoreFolder) -> None:
    """Raise UsageError for a folder that is no model's, naming those in it."""
    if not exists(folder.manifests):
        raise _no_scores(folder)


def _no_scores(folder: ScoreFolder) -> UsageError:
    below = [join(folder.path, name) for name in list_names(folder.path)]
    models = [path for path in below if exists(ScoreFolder(path).manifests)]
    if models:
        return UsageError(
            f"{folder.path}: holds a folder for each model; name one of them: {', '.join(models)}"
        )
    return UsageError(f"{folder.path}: no scores here (there is no manifest). Run skinclf score")


def _exactly(path: str, table: str, read: Callable[[list[str]], T]) -> T:
    """What `read` makes of the files of a table, tried again where they were replaced meanwhile."""
    folder = ScoreFolder(path)
    for _ in range(TRIES):
        manifest = read_manifest(folder)
        named = [file.name for file in manifest.files(table)]
        if not named and manifest.listing:
            raise UsageError(
                f"{path}: nothing is scored yet: a job is at its first images, or was ended there"
            )
        if not named:
            raise _no_scores(folder)
        shown = set(list_names(join(path, table)))
        files = [
            folder.public(table, name) if name in shown else folder.staged(name) for name in named
        ]
        try:
            if all(name in shown or exists(folder.staged(name)) for name in named):
                return read(files)
        except FileNotFoundError:
            pass
        time.sleep(PAUSE)
    raise UsageError(f"{path}: files were replaced each time they were read; try again")


def _row_groups(files: list[str]) -> Iterator[pa.Table]:
    for file in files:
        yield from iter_tables(file)


def _read(files: list[str], columns: Sequence[str] | None) -> pa.Table:
    tables = []
    for file in files:
        with opened(file) as parquet:
            tables.append(parquet.read(columns))
    return pa.concat_tables(tables)
