"""What makes each image appear in a model's scores exactly once, however often a job is killed.

A micro-batch is one file of the listing, numbered in the order in which they were written. A job
that is killed before a micro-batch is marked as done does it again: it replaces its own folders.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import IntegerType

from skinclf.archives import LISTING
from skinclf.spark.listing import stage_listing
from skinclf.spark.reading import literal_reader, read_parquet
from skinclf.spec.rejects import READ_AGAIN
from skinclf.storage.files import (
    delete,
    exists,
    hadoop_path,
    join,
    list_names,
    locate,
    write_table,
    write_text,
)
from skinclf.storage.score_folder import ScoreFolder

NO_MARKER = ("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")


def list_new(
    spark: SparkSession,
    rows: Iterable[dict[str, Any]],
    folder: ScoreFolder,
    *,
    micro_batch_images: int,
    limit: int = 0,
    retry: Collection[str] = (),
    versions: Callable[[DataFrame], DataFrame] | None = None,
) -> tuple[int, int]:
    """Add to the listing what is new or changed in the archive → (listed, of these known before).

    Rejects whose reason is in READ_AGAIN or `retry` (or any reject, if that holds "all") are
    listed again. `versions` replaces the `version` of what was found. A job that is killed anywhere
    in here finds the rest again. Memory does not grow with the number of rows.
    """
    found = stage_listing(spark, rows, folder.found)
    found = versions(found) if versions else found
    if exists(folder.listing):
        again = _rejected(spark, folder, {*READ_AGAIN, *retry})
        compared = found.join(_known(spark, folder), "source", "left").join(again, "source", "left")
        unlike = ~F.col("version").eqNullSafe(F.col("known_version"))
        new = compared.where(F.col("known").isNull() | unlike | F.col("again"))
    else:
        new = found.withColumn("known", F.lit(None).cast("boolean"))
    if limit:
        new = new.orderBy("file", "offset").limit(limit)
    new = new.persist()
    count, known = new.count(), new.where("known").count()
    if count:
        generation = len(list_names(folder.listing))
        batches = -(-count // micro_batch_images)
        (
            new.select(*LISTING.names)
            .repartitionByRange(batches, "file", "offset", "source")
            .sortWithinPartitions("file", "offset", "source")
            .write.option(*NO_MARKER)
            .parquet(hadoop_path(join(folder.listing, f"generation={generation:04}")))
        )
    new.unpersist()
    delete(folder.found)
    return count, known


def _known(spark: SparkSession, folder: ScoreFolder) -> DataFrame:
    """`source`, `known_version` and `known` (true) of every input that was ever listed."""
    schema = from_arrow_schema(LISTING).add("generation", IntegerType())
    listed = read_parquet(spark, folder.listing, schema)
    latest = F.max_by("version", "generation").alias("known_version")
    return listed.groupBy("source").agg(latest).withColumn("known", F.lit(True))


def _rejected(spark: SparkSession, folder: ScoreFolder, reasons: set[str]) -> DataFrame:
    """`source` and `again` (true) of the rejects that have one of `reasons`."""
    rejects = read_rejects(spark, folder)
    wanted = rejects if "all" in reasons else rejects.where(F.col("reason").isin(*reasons))
    return wanted.select("source", F.lit(True).alias("again")).distinct()


def each_micro_batch(
    spark: SparkSession, folder: ScoreFolder, do: Callable[[pa.Table, int], None]
) -> None:
    """Call `do` with LISTING and number of each micro-batch that is not done, in order.

    A micro-batch is done when `do` has returned; until then it is done again, under its number.
    What an earlier content or try of an input has given is taken out first: only now, when the
    input is listed again for sure.
    """
    done = set(list_names(folder.done))
    files = [(n, file) for n, file in enumerate(_listing_files(folder)) if _mark(n) not in done]
    if files and done:
        pending = literal_reader(spark).schema(from_arrow_schema(LISTING))
        listed = pending.parquet(*(hadoop_path(file) for _, file in files))
        _take_out(listed.select("source"), folder)
    for number, file in files:
        file_system, inner = locate(file)
        do(pq.read_table(inner, filesystem=file_system, schema=LISTING), number)
        write_text(join(folder.done, _mark(number)), "")


def _listing_files(folder: ScoreFolder) -> list[str]:
    """The files of the listing in the order in which they were written; none is ever removed."""
    return [
        join(folder.listing, generation, name)
        for generation in list_names(folder.listing)
        for name in list_names(join(folder.listing, generation))
        if name.endswith(".parquet")
    ]


def _mark(number: int) -> str:
    return f"batch={number:06}"


def write_batch(outcomes: DataFrame, folder: ScoreFolder, number: int) -> None:
    """Write a micro-batch's outcomes as scores and rejects, in place of what it left before."""
    batch = _mark(number)
    kinds = ("reason IS NULL", "reason IS NOT NULL")
    for kept, (place, schema) in zip(kinds, folder.tables, strict=True):
        (
            outcomes.where(kept)
            .select(*schema.names)
            .coalesce(1)
            .write.option(*NO_MARKER)
            .parquet(hadoop_path(join(place, batch)), mode="overwrite")
        )


def read_scores(spark: SparkSession, folder: ScoreFolder) -> DataFrame:
    """SCORES of all micro-batches, with `batch`."""
    return _read(spark, *folder.tables[0])


def read_rejects(spark: SparkSession, folder: ScoreFolder) -> DataFrame:
    """REJECTS of all micro-batches, with `batch`."""
    return _read(spark, *folder.tables[1])


def count_listed(spark: SparkSession, folder: ScoreFolder) -> int:
    """How many different inputs were ever listed."""
    if not exists(folder.listing):
        return 0
    listed = read_parquet(spark, folder.listing)
    return listed.select("source").distinct().count()


def _take_out(sources: DataFrame, folder: ScoreFolder) -> None:
    """Write each file of scores and rejects that speaks of `sources` anew, without them."""
    spark = sources.sparkSession
    for place, schema in folder.tables:
        if not exists(place):
            continue
        rows = read_parquet(spark, place).select("source", "_metadata.file_path")
        by_file = rows.join(sources, "source", "left_semi").groupBy("file_path")
        for row in by_file.agg(F.collect_set("source").alias("sources")).toLocalIterator():
            # Spark's form of the path is not pyarrow's; what it ends with is the same.
            path = join(place, *row["file_path"].split("/")[-2:])
            file_system, inner = locate(path)
            table = pq.read_table(inner, filesystem=file_system, schema=schema)
            kept = table.filter(pc.invert(pc.is_in(table["source"], pa.array(row["sources"]))))
            name = path.rpartition("/")[2]
            delete(join(path.removesuffix(name), f".{name}.crc"))  # Hadoop's, on a local disk
            write_table(kept, path)


def _read(spark: SparkSession, path: str, schema: pa.Schema) -> DataFrame:
    if not exists(path):
        return spark.createDataFrame([], from_arrow_schema(schema))
    return read_parquet(spark, path)
