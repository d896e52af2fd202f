"""What an archive holds, as a DataFrame: the driver lists it part by part and keeps none of it."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.archives import LIKE_REPEATED, LISTING, REPEATED, Selection, iter_images, listing_of
from skinclf.archives.lists import TABLE
from skinclf.config.schema import ArchiveConfig
from skinclf.spark.archive import needs_spark, spark_images
from skinclf.spark.caching import Keep
from skinclf.spark.catalog import named_images
from skinclf.spark.reading import read_parquet
from skinclf.spark.versions import frame_of
from skinclf.storage.files import delete, exists, join
from skinclf.storage.parquet_files import write_parquet

log = logging.getLogger(__name__)

ROW = "row"
"""A file's place in the listing, from 0 on: its key."""

ROW_BITS = 33
"""In which Spark's monotonically_increasing_id counts the rows of a partition."""

FEW_ROWS = 20_000
"""So many take the driver some 30 MB, and Spark's first queries seconds, whatever their size."""

ROWS_A_PART = 50_000
"""Of what the driver lists before it writes it down: some 60 MB."""


def listed_rows(
    spark: SparkSession,
    archive: ArchiveConfig,
    paths: tuple[str, ...],
    leave_out: Iterable[str],
    selection: Selection,
) -> Iterator[dict[str, Any]]:
    """Every file of `paths`, row by row of LISTING, by whichever reader reaches it.

    `leave_out`: paths that are no part of the archive, such as the folder that the job writes to.
    Raises what `iter_images` and `spark_images` raise.
    """
    if needs_spark(archive, paths):
        return spark_images(spark, paths, list(leave_out), selection)
    named = [
        named_images(spark, path.removeprefix(TABLE)) if path.startswith(TABLE) else path
        for path in paths
    ]
    return iter_images(named, list(leave_out), selection)


def log_left_out(selection: Selection) -> None:
    """Say what was left out, and why, if anything."""
    for summary in selection.summaries():
        log.info("%s", summary)


def listed_files(
    spark: SparkSession,
    rows: Iterable[dict[str, Any]],
    paths: Sequence[str],
    folder: str,
    keep: Keep,
) -> tuple[DataFrame, int]:
    """Rows of LISTING found in `paths` → the same with ROW, and how many they are.

    ROW follows file and member. Each `source` is there once; see LISTING. FEW_ROWS the driver sorts
    itself; more go through `folder`, and its memory does not grow with them. Raises ArchiveError
    where there are none.
    """
    rows = iter(rows)
    first = list(islice(rows, FEW_ROWS))
    if len(first) == FEW_ROWS:
        return numbered(stage_listing(spark, chain(first, rows), folder), keep)
    listing = listing_of(first, paths)
    numbers = pa.array(range(len(listing)), pa.int64())
    return frame_of(spark, listing.append_column(ROW, numbers)), len(listing)


def stage_listing(spark: SparkSession, rows: Iterable[dict[str, Any]], folder: str) -> DataFrame:
    """Write rows of LISTING below `folder`, replacing what is there → each `source` once.

    The driver's memory does not grow with the number of rows. A row that came twice is one; of
    several members of one name each gets its number (see LISTING).
    """
    delete(folder)
    for number, part in enumerate(_parts(iter(rows))):
        table = pa.Table.from_pylist(part, schema=LISTING)
        write_parquet(join(folder, f"{number:06}.parquet"), [table], LISTING)
    if not exists(folder):
        return spark.createDataFrame([], from_arrow_schema(LISTING))
    found = read_parquet(spark, folder, LISTING)
    by_source = Window.partitionBy("source").orderBy("member")
    ranked = found.withColumn("number", F.dense_rank().over(by_source))
    before = ranked.withColumn("before", F.lag("number").over(by_source))
    numbered = before.where(~F.col("number").eqNullSafe(F.col("before")))
    repeated = F.format_string(REPEATED.format("%s", "%d"), "source", "number")
    ambiguous = F.col("member").isNotNull() & F.col("source").rlike(LIKE_REPEATED)
    is_repeated = (F.col("number") > 1) | ambiguous
    source = F.when(is_repeated, repeated).otherwise(F.col("source"))
    return numbered.withColumn("source", source).select(*LISTING.names)


def numbered(listed: DataFrame, keep: Keep) -> tuple[DataFrame, int]:
    """Add ROW: LISTING in the order of file and member, whatever its partitions were; and count.

    All tasks sort: each counts its rows, and begins where those before it end.
    """
    place = F.monotonically_increasing_id()
    ordered = keep(listed.sort("file", "member").withColumn(ROW, place))
    partition = F.shiftright(ROW, ROW_BITS)
    counts = sorted(map(tuple, ordered.groupBy(partition).count().collect()))
    before = list(accumulate((count for _, count in counts), initial=0))
    if [number for number, _ in counts] not in ([], [0]):
        starts = zip((number for number, _ in counts), before, strict=False)
        start = F.create_map(*map(F.lit, chain(*starts)))[partition]
        in_partition = F.col(ROW).bitwiseAND(F.lit((1 << ROW_BITS) - 1))
        ordered = ordered.withColumn(ROW, start + in_partition)
    return ordered, before[-1]


def _parts(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while part := list(islice(rows, ROWS_A_PART)):
        yield part
