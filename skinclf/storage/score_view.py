"""A model's scores and rejects exactly as its manifest has them, at any moment."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa

from skinclf.errors import UsageError
from skinclf.storage.files import exists, join, list_names, local_path
from skinclf.storage.parquet_files import column_names, iter_rows_with, iter_tables, opened
from skinclf.storage.score_folder import REJECTED, SCORES, ScoreFolder
from skinclf.storage.score_manifest import TRIES, Manifest, read_manifest
from skinclf.system.text import in_one_line

PAUSE = 0.05
"""Seconds between the tries to read what was replaced meanwhile."""

T = TypeVar("T")


def read_scores(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """All scores in a model's folder (scores/MODEL): each image once, at any moment.

    `columns`: only these. Raises UsageError where there are no scores, or no such columns, or
    where a file is gone or damaged.
    """
    return _exactly(path, SCORES, lambda files: _read(files, columns))


def read_rejects(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
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

    def find(manifest: Manifest) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for listing in manifest.listing:
            file = join(folder.listing, listing.name)
            with _whole(file):
                for rows in iter_rows_with(file, wanted, "source", column_names(file)):
                    found.update((row["source"], row) for row in rows.to_pylist())
        return list(found.values())

    return _by_manifest(folder, find)


def score_files(path: str | os.PathLike[str]) -> list[str]:
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
    return UsageError(f"{folder.path}: no scores here. Run skinclf score")


def _exactly(path: str | os.PathLike[str], table: str, read: Callable[[list[str]], T]) -> T:
    """What `read` makes of the files of a table, tried again where they were replaced meanwhile."""
    folder = ScoreFolder(os.fspath(path))

    def read_named(manifest: Manifest) -> T:
        named = [file.name for file in manifest.files(table)]
        if not named and manifest.listing:
            raise UsageError(
                f"{path}: nothing is scored yet: a job is at its first images, or was ended there"
            )
        if not named:
            raise _no_scores(folder)
        shown = set(list_names(join(folder.path, table)))
        for name in named:
            if name not in shown and not exists(folder.staged(name)):
                raise FileNotFoundError(folder.public(table, name))
        return read(
            [folder.public(table, name) if name in shown else folder.staged(name) for name in named]
        )

    return _by_manifest(folder, read_named)


def _by_manifest(folder: ScoreFolder, read: Callable[[Manifest], T]) -> T:
    """What `read` makes of the files that the manifest names, tried again where one was replaced
    meanwhile. Raises UsageError where one is gone for good.
    """
    numbers, missing = set(), ""
    for _ in range(TRIES):
        manifest = read_manifest(folder)
        try:
            return read(manifest)
        except FileNotFoundError as error:
            numbers.add(manifest.number)
            missing = str(error)
        time.sleep(PAUSE)
    if len(numbers) == 1:
        raise UsageError(
            f"{folder.path}: the manifest names a file that is gone: {missing}. Restore it, or "
            f"score anew into another folder (score.output)"
        )
    raise UsageError(f"{folder.path}: files were replaced each time they were read; try again")


@contextmanager
def _whole(file: str) -> Iterator[None]:
    """Raise UsageError where what is read inside is damaged."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and not _is_of_content(error, file):
            raise
        raise UsageError(f"{file}: is damaged: {in_one_line(error)}") from None


def _is_of_content(error: OSError, file: str) -> bool:
    """Whether an error is of what is in a Parquet file: that has no number, and on other storage
    than a disk neither have the storage's own.
    """
    if error.errno is not None or isinstance(error, FileNotFoundError):
        return False
    return local_path(file) is not None or "thrift" in str(error)


def _row_groups(files: list[str]) -> Iterator[pa.Table]:
    for file in files:
        with _whole(file):
            yield from iter_tables(file)


def _read(files: list[str], columns: Sequence[str] | None) -> pa.Table:
    tables = []
    for file in files:
        with _whole(file), opened(file) as parquet:
            _check_columns(columns or (), parquet.schema_arrow.names)
            tables.append(parquet.read(columns))
    return pa.concat_tables(tables)


def _check_columns(asked: Sequence[str], there: Sequence[str]) -> None:
    """Raise UsageError for a column that is not there, of which Arrow would say nothing."""
    unknown = [name for name in asked if name not in there]
    if unknown:
        raise UsageError(f"columns: there is no {unknown[0]!r}; there are {', '.join(there)}")
