"""What newer versions of Spark have as methods: theirs and ours give the same."""

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.spark import versions
from skinclf.spark.versions import (
    frame_of,
    hash_keys,
    in_partitions,
    is_supported,
    most_frequent,
    table_of,
)

TABLE = pa.table(
    {
        "text": pa.array(["a", None, "ü"]),
        "number": pa.array([1, None, 2**53 + 1], pa.int64()),
        "on": pa.array([True, None, False]),
        "bytes": pa.array([b"\0", None, b""], pa.binary()),
        "numbers": pa.array([[1], None, []], pa.list_(pa.int32())),
    }
)


@pytest.fixture(params=["theirs", "ours"])
def spark_of(
    request: pytest.FixtureRequest, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> SparkSession:
    """A session with the methods that its Spark has, and one of a Spark that has none of them."""
    if request.param == "ours":
        monkeypatch.setattr(versions, "has", lambda _: False)
    return spark


@pytest.mark.parametrize("rows", [3, 0])
def test_a_table_becomes_a_frame_and_a_table_again(spark_of: SparkSession, rows: int) -> None:
    table = TABLE.slice(0, rows)
    assert table_of(frame_of(spark_of, table)).equals(table)


def test_rows_go_to_the_partition_of_their_number(spark_of: SparkSession) -> None:
    frame = in_partitions(spark_of.range(1000), 37, (F.col("id") % 37).cast("int"))
    found = frame.select("id", F.spark_partition_id().alias("partition")).collect()
    assert frame.rdd.getNumPartitions() == 37
    assert all(row["id"] % 37 == row["partition"] for row in found)


def test_hash_keys_go_where_spark_hashes_them(spark: SparkSession) -> None:
    keys = hash_keys(100)
    rows = spark.createDataFrame([(key,) for key in keys], "key int")
    hashed = rows.select(F.expr("pmod(hash(key), 100)").alias("partition")).collect()
    assert [row["partition"] for row in hashed] == list(range(100))


def test_the_most_frequent_value_is_the_lowest_of_equals(spark_of: SparkSession) -> None:
    rows = [(1, "b"), (1, "a"), (2, "b"), (2, "a"), (2, "b"), (3, None), (3, "c"), (4, None)]
    frame = spark_of.createDataFrame(rows, "of int, value string")
    found = frame.groupBy("of").agg(most_frequent("value").alias("value")).collect()
    assert {row["of"]: row["value"] for row in found} == {1: "a", 2: "b", 3: "c", 4: None}


def test_supported_versions() -> None:
    names = ("3.4.4", "3.5.0", "3.5.2-amzn-1", "4.0.0", "4.3.0", "4.4.0.dev1", "5.0.0")
    assert [is_supported(name) for name in names] == [False, *[True] * 5, False]


def test_a_newer_spark_is_asked_for_its_own(spark: SparkSession) -> None:
    """Else the methods here would be tested alone."""
    if spark.version >= "4.1":
        assert all(map(versions.has, ("toArrow", "repartitionById")))
        assert isinstance(frame_of(spark, TABLE), DataFrame)
