"""What is new or changed in an archive, added to the listing of a folder of scores.

A few files are compared here: without Spark, a job that scores a few images ends five seconds
sooner. More of them, or a few with a long listing, are Spark's work.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.archives import LISTING, listing_of
from skinclf.errors import UsageError
from skinclf.spark.listing import FEW_ROWS, stage_listing
from skinclf.spark.reading import read_parquet_files
from skinclf.spark.versions import parallelism, persisted
from skinclf.spec.rejects import READ_AGAIN
from skinclf.storage.files import delete, join
from skinclf.storage.parquet_files import (
    TableWriter,
    iter_tables,
    read_rows,
    table_writer,
    write_parquet,
)
from skinclf.storage.score_folder import REJECTED, new_name
from skinclf.storage.score_ledger import ScoreLedger
from skinclf.storage.score_manifest import ListingFile

STORED = pa.schema([*LISTING, ("generation", pa.int64())])
"""The listing as it is stored: of a source that was listed more than once, the last counts."""

KNOWN_ROWS = 1_000_000
"""Of the listing: more are compared by Spark, even with a few files."""

ROWS_A_FILE = 50_000
"""Of the listing: what one task sorts and writes."""

ROWS_A_GROUP = 1_000
"""Of the listing: what a task that scores 500 files reads of it is little more than those."""

MERGED_AT_ONCE = 16
"""So many small files of the listing become one."""

WRITTEN = pa.schema(
    [
        ("task", pa.int64()),
        ("again", pa.bool_()),
        ("name", pa.string()),
        ("rows", pa.int64()),
    ]
)
"""A file of the listing that a task wrote."""

log = logging.getLogger(__name__)

Versions = Callable[[DataFrame], DataFrame]
"""LISTING → the same with another `version`."""


def list_new(
    spark: SparkSession,
    rows: Iterable[dict[str, Any]],
    ledger: ScoreLedger,
    *,
    limit: int = 0,
    retry: Collection[str] = (),
    versions: Versions | None = None,
    spark_paths: Sequence[str] = (),
) -> tuple[int, int]:
    """Add to the listing what is new or changed in the archive → (listed, of these known before).

    Rejects whose reason is in READ_AGAIN or `retry` (or any reject, if that holds "all") are
    listed again, but for those that the listing itself rejects; what is listed again comes after
    what is new. `versions` replaces the `version` of what was found. `spark_paths`: the archive,
    where Spark has to read it. A job that is killed anywhere in here finds the rest again. Memory
    does not grow with the number of rows. Warns where nothing is found any more. Raises UsageError
    where what is there was listed by another reader.
    """
    _check_reader(ledger, by_spark=bool(spark_paths))
    merge_listing(ledger)
    reasons = {*READ_AGAIN, *retry}
    found = iter(rows)
    few = list(islice(found, FEW_ROWS))
    further = list(islice(found, 1))
    if not few and ledger.manifest.inputs:
        log.warning(
            "the archive has no files now, and %s inputs were listed before: is it mounted?",
            f"{ledger.manifest.inputs:,}",
        )
    if further or versions is not None or ledger.manifest.listed > KNOWN_ROWS:
        files = _by_spark(spark, chain(few, further, found), ledger, limit, reasons, versions)
    else:
        files = _directly(few, ledger, limit, reasons)
    if files:
        ledger.add_listing(files, spark_paths)
    return sum(file.rows for file in files), sum(file.rows for file in files if file.again)


def merge_listing(ledger: ScoreLedger) -> None:
    """Make one file of many small ones whose rows are done: a job every five minutes adds 100,000
    files a year, and each job opens them all.
    """
    while group := _to_merge(ledger.manifest.listing_done):
        name = new_name()
        tables = (part for file in group for part in iter_tables(ledger.listing_file(file.name)))
        rows = write_parquet(ledger.listing_file(name), tables, STORED, ROWS_A_GROUP)
        ledger.merge_listing(group, ListingFile(name=name, rows=rows))


def _to_merge(files: Sequence[ListingFile]) -> Sequence[ListingFile]:
    """The last small files once they are many; neighbors, since of a source's rows the last counts.

    The first file of all stays: a table of the scores knows the folder by its name.
    """
    for most in (ROWS_A_GROUP, ROWS_A_FILE):
        large = (place for place, file in enumerate(files) if file.rows >= most)
        small = files[max(large, default=0) + 1 :]
        if len(small) >= MERGED_AT_ONCE:
            return small
    return ()


def _check_reader(ledger: ScoreLedger, *, by_spark: bool) -> None:
    manifest, names = ledger.manifest, {True: "spark", False: "pyarrow"}
    if manifest.listing and bool(manifest.spark_paths) != by_spark:
        raise UsageError(
            f"{ledger.folder.path}: its images were listed by {names[not by_spark]}. "
            f"{names[by_spark]}, which is to list them now, names files otherwise: all would be "
            f"scored twice. Keep to one archive.reader, or name another folder: score.output"
        )


# A few files, without Spark


def _directly(
    rows: list[dict[str, Any]], ledger: ScoreLedger, limit: int, reasons: set[str]
) -> list[ListingFile]:
    if not rows:
        return []
    found = listing_of(rows, ())
    known = _known_versions(ledger, found["source"].combine_chunks())
    tried = _rejected_sources(ledger, found["source"].combine_chunks(), reasons)
    columns = (found[name].to_pylist() for name in ("source", "version", "reason"))
    listed = list(zip(*columns, strict=True))
    new = pa.array([source not in known for source, _, _ in listed])
    again = pa.array(
        [
            source in known
            and (_is_other(version, known[source]) or (source in tried and not reason))
            for source, version, reason in listed
        ]
    )
    files, room = [], limit or found.num_rows
    for table, is_again in ((found.filter(new), False), (found.filter(again), True)):
        part = table.slice(0, room)
        if part.num_rows:
            files.append(_write(part, ledger, again=is_again))
            room -= part.num_rows
    return files


def _is_other(version: str | None, known: str | None) -> bool:
    """Whether a file is another than the one that was listed. One that could not be read when it
    was found has no version: its score stays.
    """
    return version is not None and version != known


def _write(table: pa.Table, ledger: ScoreLedger, *, again: bool) -> ListingFile:
    name = new_name()
    generation = pa.array([ledger.manifest.number] * table.num_rows, pa.int64())
    stored = table.append_column("generation", generation)
    write_parquet(ledger.listing_file(name), [stored], STORED, ROWS_A_GROUP)
    return ListingFile(name=name, rows=table.num_rows, again=again)


def _known_versions(ledger: ScoreLedger, sources: pa.Array) -> dict[str, str | None]:
    """Those of `sources` that were ever listed, with the version that was listed last."""
    known: dict[str, str | None] = {}
    for file in ledger.manifest.listing:
        for part in iter_tables(ledger.listing_file(file.name), ["source", "version"]):
            rows = part.filter(pc.is_in(part["source"], value_set=sources))
            known.update(zip(*(rows[name].to_pylist() for name in rows.schema.names), strict=True))
    return known


def _rejected_sources(ledger: ScoreLedger, sources: pa.Array, reasons: set[str]) -> set[str]:
    """Those of `sources` that are rejects for one of `reasons`."""
    if not _have(ledger, reasons):
        return set()
    found: set[str] = set()
    for file in ledger.manifest.rejects:
        path = ledger.folder.public(REJECTED, file.name)
        for part in iter_tables(path, ["source", "reason"]):
            wanted = pc.is_in(part["source"], value_set=sources)
            if "all" not in reasons:
                wanted = pc.and_(wanted, pc.is_in(part["reason"], value_set=_strings(reasons)))
            found.update(part["source"].filter(wanted).to_pylist())
    return found


def _have(ledger: ScoreLedger, reasons: set[str]) -> bool:
    """Whether there are rejects for one of `reasons`."""
    present = ledger.manifest.reasons.keys()
    return bool(present and ("all" in reasons or present & reasons))


def _strings(values: Iterable[str]) -> pa.Array:
    return pa.array(sorted(values), pa.string())


# More of them, by Spark


def _by_spark(
    spark: SparkSession,
    rows: Iterable[dict[str, Any]],
    ledger: ScoreLedger,
    limit: int,
    reasons: set[str],
    versions: Versions | None,
) -> list[ListingFile]:
    found = stage_listing(spark, rows, ledger.folder.found)
    if versions:  # they read archives: from front to back, and each by few tasks
        ordered = found.repartitionByRange("file", "offset").sortWithinPartitions("file", "offset")
        found = versions(ordered)
    new = _compared(spark, found, ledger, reasons)
    if 0 < limit <= ROWS_A_FILE:  # each task then keeps no more than so many; else see _cut
        new = new.orderBy("again", "file", "offset", "source").limit(limit)
    new = persisted(new)
    count = new.count()
    files = _written(new, count, ledger) if count else []
    new.unpersist()
    delete(ledger.folder.found)
    return _cut(files, limit, ledger) if limit else files


def _compared(
    spark: SparkSession, found: DataFrame, ledger: ScoreLedger, reasons: set[str]
) -> DataFrame:
    """What of LISTING is to be listed, with `again`: whether it was before."""
    names = [file.name for file in ledger.manifest.listing]
    if not names:
        return found.withColumn("again", F.lit(False))
    latest = F.max_by("version", "generation").alias("known_version")
    listing = read_parquet_files(spark, ledger.folder.listing, names, STORED)
    known = listing.groupBy("source").agg(latest)
    compared = found.join(known.withColumn("again", F.lit(True)), "source", "left")
    changed = F.col("version").isNotNull()  # as `_is_other`
    changed &= ~F.col("version").eqNullSafe(F.col("known_version"))
    wanted = F.col("again").isNull() | changed
    if _have(ledger, reasons):
        compared = compared.join(_rejected(spark, ledger, reasons), "source", "left")
        wanted |= F.col("tried") & F.col("reason").isNull()
    again = F.coalesce("again", F.lit(False)).alias("again")
    return compared.where(wanted).select(*LISTING.names, again)


def _rejected(spark: SparkSession, ledger: ScoreLedger, reasons: set[str]) -> DataFrame:
    """`source` and `tried` (true) of the rejects that have one of `reasons`."""
    folder = ledger.folder
    names = [file.name for file in ledger.manifest.rejects]
    rejects = read_parquet_files(spark, join(folder.path, REJECTED), names, folder.schema(REJECTED))
    wanted = rejects if "all" in reasons else rejects.where(F.col("reason").isin(*reasons))
    return wanted.select("source", F.lit(True).alias("tried"))


def _written(new: DataFrame, count: int, ledger: ScoreLedger) -> list[ListingFile]:
    """Write `new` into the listing, neighbors together, in files of like size."""
    cores = parallelism(new.sparkSession)
    tasks = max(-(-count // ROWS_A_FILE), min(cores, -(-count // FEW_ROWS)))
    order = ("again", "file", "offset", "source")
    folder, generation = ledger.folder.listing, ledger.manifest.number

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _write_listing(batches, folder, generation)

    rows = (
        new.repartitionByRange(tasks, *order)
        .sortWithinPartitions(*order)
        .mapInArrow(write, from_arrow_schema(WRITTEN))
        .collect()
    )
    return [
        ListingFile(name=row["name"], rows=row["rows"], again=row["again"])
        for row in sorted(rows, key=lambda row: (row["again"], row["task"]))
    ]


def _write_listing(
    batches: Iterable[pa.RecordBatch], folder: str, generation: int
) -> Iterator[pa.RecordBatch]:
    """Write a task's rows of LISTING and `again` into a file for each value of the latter."""
    task = TaskContext.get()
    names: dict[bool, str] = {}
    written: dict[bool, TableWriter] = {}
    with ExitStack() as files:
        for batch in batches:
            for again in (False, True):
                mask = batch["again"] if again else pc.invert(batch["again"])
                part = pa.table(batch).filter(mask).select(LISTING.names).cast(LISTING)
                if not part.num_rows:
                    continue
                if again not in written:
                    names[again] = new_name()
                    path = join(folder, names[again])
                    written[again] = files.enter_context(table_writer(path, STORED, ROWS_A_GROUP))
                column = pa.array([generation] * part.num_rows, pa.int64())
                written[again].add(part.append_column("generation", column))
    number = task.partitionId() if task else 0
    yield from pa.Table.from_pylist(
        [
            {"task": number, "again": again, "name": names[again], "rows": file.rows}
            for again, file in written.items()
        ],
        schema=WRITTEN,
    ).to_batches()


def _cut(files: list[ListingFile], limit: int, ledger: ScoreLedger) -> list[ListingFile]:
    """The first `limit` rows of files of the listing; one file is written anew for it."""
    kept, room = [], limit
    for file in files:
        if 0 < room < file.rows:
            part = read_rows(ledger.listing_file(file.name), 0, room)
            kept.append(_write(part.select(LISTING.names), ledger, again=file.again))
        elif room > 0:
            kept.append(file)
        room -= file.rows
    return kept
