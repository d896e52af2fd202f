"""What Spark 3.5 to 4.x and Spark Connect do in different ways: the one place that asks which Spark
it is.

Where a newer Spark has a method, it is called; else what it does is done here.
"""

from functools import lru_cache

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

OLDEST, TOO_NEW = (3, 5), (5, 0)
"""The versions of Spark that skinclf runs on, the second one excluded."""


def is_supported(version: str) -> bool:
    """Whether skinclf runs on a version of Spark, such as "4.0.1" or "3.5.0-databricks"."""
    major, minor, *_ = version.split(".")
    return OLDEST <= (int(major), int(minor)) < TOO_NEW


def has(method: str) -> bool:
    """Whether this Spark's DataFrame has a method: `toArrow` stands for all that came with 4.0."""
    return hasattr(DataFrame, method)


def is_connect(spark: SparkSession) -> bool:
    """Whether a session is one of Spark Connect, which has no SparkContext: all that serverless and
    shared clusters have.
    """
    return type(spark).__module__.startswith("pyspark.sql.connect")


def lists_hidden_names(spark: SparkSession) -> bool:
    """Whether files are found whose names begin with `_` or a point (since Spark 4.3)."""
    major, minor, *_ = spark.version.split(".")
    return (int(major), int(minor)) >= (4, 3)


def master_of(spark: SparkSession) -> str:
    """The master of a session; "" where Spark Connect does not tell it."""
    if is_connect(spark):
        return str(spark.conf.get("spark.master", "") or "")
    return str(spark.sparkContext.master or "")


def parallelism(spark: SparkSession) -> int:
    """How many tasks run at once now."""
    if is_connect(spark):
        return _partitions(spark)
    return int(spark.sparkContext.defaultParallelism)


@lru_cache(maxsize=1)
def _partitions(spark: SparkSession) -> int:
    """Into how many partitions Spark cuts what has none of its own. One small query."""
    parts = spark.range(1_000_000).select(F.spark_partition_id().alias("part"))
    return int(parts.agg(F.max("part")).collect()[0][0]) + 1


def add_tag(spark: SparkSession, tag: str) -> None:
    """Mark the jobs that this thread starts from now on (since Spark 3.5)."""
    if is_connect(spark):
        spark.addTag(tag)
    else:
        spark.sparkContext.addJobTag(tag)


def remove_tag(spark: SparkSession, tag: str) -> None:
    """Mark them no longer."""
    if is_connect(spark):
        spark.removeTag(tag)
    else:
        spark.sparkContext.removeJobTag(tag)


def cancel_tag(spark: SparkSession, tag: str) -> None:
    """End the jobs that are marked; any thread may call this."""
    if is_connect(spark):
        spark.interruptTag(tag)
    else:
        spark.sparkContext.cancelJobsWithTag(tag)


def persisted(frame: DataFrame) -> DataFrame:
    """A DataFrame whose rows are kept, where the session can: serverless ones can't."""
    return frame if is_connect(frame.sparkSession) else frame.persist()


def frame_of(spark: SparkSession, table: pa.Table) -> DataFrame:
    """An Arrow table as a DataFrame of the same columns (createDataFrame, since Spark 4.0)."""
    if has("toArrow"):
        return spark.createDataFrame(table)
    return _frame_of_stream(spark, table)


def table_of(frame: DataFrame) -> pa.Table:
    """All rows of a DataFrame as an Arrow table (toArrow, since Spark 4.0)."""
    if has("toArrow"):
        return frame.toArrow()
    return pa.Table.from_batches(frame._collect_as_arrow(), to_arrow_schema(frame.schema))  # type: ignore[operator]


def in_partitions(frame: DataFrame, count: int, number: Column) -> DataFrame:
    """A DataFrame whose partition n of `count` has the rows whose `number` (int) is n
    (repartitionById, since Spark 4.1).
    """
    if has("repartitionById"):
        return frame.repartitionById(count, number)
    # Rows go by the hash of a key: each partition gets a key that has its hash.
    keys = F.array(*map(F.lit, hash_keys(count)))
    key = F.element_at(keys, number + F.lit(1)).alias("key")
    return frame.repartition(count, key)


def most_frequent(column: str) -> Column:
    """An aggregate: the value that most rows of a group have, the lowest one of equals
    (mode with `deterministic`, since Spark 4.0).
    """
    if has("toArrow"):
        return F.mode(column, deterministic=True)
    values = F.collect_list(column)
    ranked = F.transform(
        F.array_distinct(values),
        lambda value: F.struct(-F.size(F.filter(values, lambda v: v == value)), value.alias("v")),
    )
    return F.array_min(ranked)["v"]


def hash_keys(count: int) -> list[int]:
    """A number for each of `count` partitions, which Spark's hash sends there."""
    found: dict[int, int] = {}
    key = 0
    while len(found) < count:
        found.setdefault(_hash_of_int(key) % count, key)
        key += 1
    return [found[number] for number in range(count)]


def _hash_of_int(number: int) -> int:
    """Murmur3 (32 bits, signed) of four bytes, as Spark partitions by an int."""
    mask = 0xFFFFFFFF

    def rotated(value: int, bits: int) -> int:
        return (value << bits | value >> (32 - bits)) & mask

    mixed = rotated(number * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask
    mixed = (rotated(42 ^ mixed, 13) * 5 + 0xE6546B64) & mask ^ 4
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        mixed = (mixed ^ mixed >> shift) * factor & mask
    return mixed - (mixed >> 31 << 32)


def _frame_of_stream(spark: SparkSession, table: pa.Table) -> DataFrame:
    """What Spark 3.5 does with a pandas frame, without the way through pandas, where an integer
    that is missing becomes a float.
    """
    from pyspark.sql.pandas.serializers import ArrowStreamSerializer

    schema = from_arrow_schema(table.schema)
    if not len(table):
        return spark.createDataFrame([], schema)
    jvm, context = spark._jvm, spark.sparkContext
    stream = context._serialize_to_jvm(
        table.to_batches(max_chunksize=10_000),
        ArrowStreamSerializer(),
        jvm.PythonSQLUtils.readArrowStreamFromFile,  # type: ignore[union-attr]
        jvm.ArrowIteratorServer,  # type: ignore[union-attr]
    )
    frame = jvm.PythonSQLUtils.toDataFrame(stream, schema.json(), spark._jsparkSession)  # type: ignore[union-attr]
    return DataFrame(frame, spark)
