"""What makes each image appear in a model's scores exactly once, however often a job is killed.

Only the owner of the folder has a ledger. Each commit is one manifest; files are written before it
names them, and what was written for a manifest that never came is deleted by the next job.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from skinclf.errors import CheckError
from skinclf.storage.files import (
    clear_temporaries,
    delete,
    delete_files,
    join,
    list_names,
    locate,
    move,
)
from skinclf.storage.parquet_files import (
    Rows,
    count_rows,
    counted,
    iter_tables,
    read_rows,
    rows_with,
    split_tables,
    write_parquet,
)
from skinclf.storage.score_folder import (
    COUNTED,
    REJECTED,
    SCORES,
    TABLES,
    ScoreFolder,
    is_part,
    new_name,
)
from skinclf.storage.score_manifest import (
    ListingFile,
    Manifest,
    Piece,
    TableFile,
    clear_manifests,
    read_manifest,
    write_manifest,
)

TARGET_BYTES = 128 * 2**20
"""Of a file of scores: what Spark reads in one task."""

SMALL_BYTES = TARGET_BYTES // 16
MERGED_AT_ONCE = 16
"""So many small files become one of up to SMALL_BYTES x 16, and so many of these a large one: each
row is written three times, and at most 30 files are not large."""

COUNTS = {SCORES: "predicted", REJECTED: "reasons"}
"""The manifest's counts of each table."""


def to_merge(files: Sequence[TableFile], *, closing: bool = False) -> list[TableFile]:
    """The files that are to become one: small ones once they are many or, when the job is
    `closing`, two; middle ones once they are many or make a large one.
    """
    small = [file for file in files if file.bytes < SMALL_BYTES]
    if len(small) >= (2 if closing else MERGED_AT_ONCE):
        return small[:MERGED_AT_ONCE]
    middle = [file for file in files if SMALL_BYTES <= file.bytes < TARGET_BYTES // 2]
    chosen: list[TableFile] = []
    for file in middle[:MERGED_AT_ONCE]:
        chosen.append(file)
        if sum(one.bytes for one in chosen) >= TARGET_BYTES:
            return chosen
    return chosen if len(chosen) == MERGED_AT_ONCE else []


class ScoreLedger:
    """The account of a folder of scores: opened by its owner, it has tidied up.

    `check_owner` raises where the folder has another owner by now, who may have committed what
    this one does not know of and would delete.
    """

    def __init__(self, folder: ScoreFolder, check_owner: Callable[[], None] = lambda: None) -> None:
        self.folder = folder
        self._check_owner = check_owner
        self.manifest: Manifest = read_manifest(folder)
        self._commit()  # an owner before, should it come back, commits nothing any more
        clear_temporaries(folder.manifests)
        clear_manifests(folder, self.manifest)
        self._publish()
        self._clear(folder.listing, {file.name for file in self.manifest.listing})
        self._clear_pending()
        for unfinished in (folder.found, folder.exported):
            delete(unfinished)

    def listing_file(self, name: str) -> str:
        """The path of a file of the listing."""
        return join(self.folder.listing, name)

    @property
    def waiting(self) -> int:
        """Rows of the listing that are not done."""
        return self.manifest.listed - self.manifest.done

    def next_batch(self, images: int) -> tuple[list[Piece], bool]:
        """At most so many rows of the listing that are not done, and whether they were listed
        before; `name` of each piece is its path.
        """
        pieces, again = self.manifest.next_batch(images)
        return [piece._replace(name=self.listing_file(piece.name)) for piece in pieces], again

    def add_listing(self, files: Sequence[ListingFile], spark_paths: Sequence[str] = ()) -> None:
        """Commit files of the listing, which lie there already, to be scored in this order.

        `spark_paths`: the archive, where Spark has to read it.
        """
        new = sum(file.rows for file in files if not file.again)
        listing = (*self.manifest.listing, *files)
        self._commit(
            listing=listing,
            inputs=self.manifest.inputs + new,
            spark_paths=tuple(spark_paths),
        )
        self._clear(self.folder.listing, {file.name for file in listing})

    def drop_waiting(self) -> int:
        """Commit the listing without its rows that are not done → how many these were.

        What of them lies in an archive is new to the job that lists it again.
        """
        waiting, left = self.waiting, self.manifest.done
        kept: list[ListingFile] = []
        new = 0
        for file in self.manifest.listing:
            rows = min(file.rows, left)
            left -= rows
            new += 0 if file.again else file.rows - rows
            if rows == file.rows:
                kept.append(file)
            elif rows:
                part = read_rows(self.listing_file(file.name), 0, rows)
                name = new_name()
                write_parquet(self.listing_file(name), [part], part.schema)
                kept.append(ListingFile(name=name, rows=rows, again=file.again))
        self._commit(listing=tuple(kept), inputs=self.manifest.inputs - new)
        self._clear(self.folder.listing, {file.name for file in kept})
        return waiting

    def merge_listing(self, old: Sequence[ListingFile], new: ListingFile) -> None:
        """Commit one file, which lies there already, in place of neighbors whose rows it has."""
        first = self.manifest.listing.index(old[0])
        before, after = self.manifest.listing[:first], self.manifest.listing[first + len(old) :]
        self._check_merged("the listing", old, new)
        self._commit(listing=(*before, new, *after))
        self._clear(self.folder.listing, {file.name for file in self.manifest.listing})

    def add(self, outcomes: pa.Table, *, again: bool) -> dict[str, int]:
        """Commit the outcomes of the next rows of the listing → their rejects by reason.

        They are public at once; those of inputs that were listed `again` are by `replace`.
        """
        scored = pc.is_null(outcomes["reason"])
        rows = {SCORES: outcomes.filter(scored), REJECTED: outcomes.filter(pc.invert(scored))}
        changes: dict[str, Any] = {"done": self.manifest.done + outcomes.num_rows}
        for table, part in rows.items():
            known = self.manifest.new_files(table) if again else self.manifest.files(table)
            if not part.num_rows and (again or known):
                continue  # the first file is written even without rows: else there is no table
            file = self._write(table, [part])
            if again:
                changes[f"new_{table}"] = (*known, file)
            else:
                move(self.folder.staged(file.name), self.folder.public(table, file.name))
                changes[table] = (*known, file)
                counts = Counter(self.manifest.counts(table))
                counts.update(counted(part[COUNTED[table]]))
                changes[COUNTS[table]] = dict(counts)
        self._commit(**changes)
        self.compact()
        return counted(rows[REJECTED]["reason"])

    def replace(self) -> None:
        """Put the outcomes of inputs that were listed again in the place of their earlier ones."""
        if not (self.manifest.new_scores or self.manifest.new_rejects):
            return
        earlier, added = self._earlier()
        changes: dict[str, Any] = {f"new_{table}": () for table in TABLES}
        for table in TABLES:
            counts = Counter(self.manifest.counts(table))
            counts.update(added[table])
            files = []
            for file in self.manifest.files(table):
                found = earlier[table].get(file.name)
                if found:
                    file = self._write(table, self._without(table, file, found, counts))
                if file.rows:
                    files.append(file)
            files += self.manifest.new_files(table)
            changes[table] = tuple(files or [self._write(table, [])])
            changes[COUNTS[table]] = {key: count for key, count in counts.items() if count}
        self._commit(**changes)
        self._publish()
        self.compact()

    def compact(self, *, closing: bool = False) -> None:
        """Make one file of many small ones, where there are: see `to_merge`."""
        for table in TABLES:
            while group := to_merge(self.manifest.files(table), closing=closing):
                paths = [self.folder.public(table, file.name) for file in group]
                merged = self._write(table, (part for path in paths for part in iter_tables(path)))
                self._check_merged(table, group, merged)
                rest = [file for file in self.manifest.files(table) if file not in group]
                self._commit(**{table: (*rest, merged)})
                self._publish()

    def _check_merged(
        self, place: str, old: Sequence[TableFile | ListingFile], new: TableFile | ListingFile
    ) -> None:
        """Raise CheckError unless one file has the rows of the others."""
        rows = sum(file.rows for file in old)
        if new.rows != rows:
            raise CheckError(
                f"{self.folder.path}: {new.rows} rows were made of {len(old)} files in {place}, "
                f"which had {rows}; nothing was changed"
            )

    def finish(self) -> None:
        """Tidy up and count what is there, by the files. Raises CheckError unless it is each
        listed input, once.
        """
        self.compact(closing=True)
        self._clear_pending()
        rows = {
            table: count_rows(
                [self.folder.public(table, file.name) for file in self.manifest.files(table)]
            )
            for table in TABLES
        }
        if sum(rows.values()) != self.manifest.inputs:
            raise CheckError(
                f"{self.folder.path}: {self.manifest.inputs} inputs listed but {rows[SCORES]} "
                f"scores + {rows[REJECTED]} rejects; no summary.json was written"
            )
        for table in TABLES:
            if sum(self.manifest.counts(table).values()) != rows[table]:
                raise CheckError(
                    f"{self.folder.path}: {table} has {rows[table]} rows, but the manifest counts "
                    f"{self.manifest.counts(table)}; no summary.json was written"
                )

    def _earlier(self) -> tuple[dict[str, dict[str, Rows]], dict[str, Counter[str]]]:
        """By table: where the earlier outcomes of the inputs in the new files are, by file; and
        the counts of the new files.

        One row group of the new files is held at a time, and a bit for each row beside an earlier
        outcome.
        """
        earlier: dict[str, dict[str, Rows]] = {table: {} for table in TABLES}
        added: dict[str, Counter[str]] = {table: Counter() for table in TABLES}
        for new_table in TABLES:
            for new_file in self.manifest.new_files(new_table):
                columns = ["source", COUNTED[new_table]]
                for part in iter_tables(self.folder.staged(new_file.name), columns):
                    added[new_table].update(counted(part[columns[1]]))
                    sources = part["source"].combine_chunks()
                    for table in TABLES:
                        for file in self.manifest.files(table):
                            found = rows_with(self.folder.public(table, file.name), sources)
                            marked = earlier[table].setdefault(file.name, {})
                            for group, mask in found.items():
                                known = marked.get(group)
                                marked[group] = mask if known is None else pc.or_(known, mask)
        return earlier, added

    def _without(
        self, table: str, file: TableFile, marked: Mapping[int, pa.Array], counts: Counter[str]
    ) -> Iterator[pa.Table]:
        """A file's rows without those that are marked, which are taken off `counts`."""
        for kept, dropped in split_tables(self.folder.public(table, file.name), marked):
            counts.subtract(counted(dropped[COUNTED[table]]))
            yield kept

    def _write(self, table: str, parts: Iterable[pa.Table]) -> TableFile:
        """Write a file of one of TABLES that nobody knows of yet."""
        name = new_name()
        path, schema = self.folder.staged(name), self.folder.schema(table)
        rows = write_parquet(path, (part.select(schema.names) for part in parts), schema)
        file_system, inner = locate(path)
        return TableFile(name=name, rows=rows, bytes=file_system.get_file_info(inner).size)

    def _commit(self, **changes: Any) -> None:
        self._check_owner()
        self.manifest = write_manifest(self.folder, self.manifest.model_copy(update=changes))

    def _publish(self) -> None:
        """Show what the manifest names, and nothing else, where others read it."""
        strays = []
        for table in TABLES:
            shown = set(list_names(join(self.folder.path, table)))
            named = {file.name for file in self.manifest.files(table)}
            strays += [self.folder.public(table, name) for name in shown - named if is_part(name)]
            for name in sorted(named - shown):
                move(self.folder.staged(name), self.folder.public(table, name))
        if strays:
            self._check_owner()
            delete_files(strays)

    def _clear(self, folder: str, named: set[str]) -> None:
        strays = [name for name in list_names(folder) if is_part(name) and name not in named]
        delete_files([join(folder, name) for name in strays])

    def _clear_pending(self) -> None:
        """Delete what no manifest names of what was to be public."""
        self._check_owner()
        new = {file.name for table in TABLES for file in self.manifest.new_files(table)}
        if new:
            self._clear(self.folder.pending, new)
        else:
            delete(self.folder.pending)
