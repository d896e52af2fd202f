"""Spark tasks whose work Python does itself: no query is planned, which costs seconds at a start.

Tasks open files by pyarrow and return tables, packed: what is in the files never crosses the JVM.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from skinclf.spark.versions import frame_of, in_partitions, is_connect

Item = TypeVar("Item")

ROW = pa.schema([("number", pa.int32()), ("packed", pa.binary())])
"""A group, or its result, on Spark Connect."""


def run_tasks(
    spark: SparkSession,
    groups: Sequence[Sequence[Item]],
    work: Callable[[Iterable[Item]], Iterable[pa.Table]],
) -> list[pa.Table]:
    """Do `work` on the items of each group, a task a group → what they yield, group by group.

    All tables of a group go through Spark as one.
    """
    if not groups:
        return []
    if is_connect(spark):
        return _run_as_query(spark, groups, work)
    tasks = spark.sparkContext.parallelize([list(group) for group in groups], len(groups))

    def packed_results(parts: Iterable[list[Item]]) -> Iterator[bytes]:
        for part in parts:
            tables = list(work(part))
            if tables:
                yield packed(pa.concat_tables(tables))

    return [unpacked(result) for result in tasks.mapPartitions(packed_results).collect()]


def _run_as_query(
    spark: SparkSession,
    groups: Sequence[Sequence[Item]],
    work: Callable[[Iterable[Item]], Iterable[pa.Table]],
) -> list[pa.Table]:
    """The same on Spark Connect, which has queries alone: a row a group, a partition a row."""
    numbers = pa.array(range(len(groups)), pa.int32())
    items = pa.array([cloudpickle.dumps(list(group)) for group in groups], pa.binary())
    frame = frame_of(spark, pa.table([numbers, items], ROW))

    def do(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number, group in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                tables = list(work(cloudpickle.loads(group)))
                if tables:
                    done = {"number": [number], "packed": [packed(pa.concat_tables(tables))]}
                    yield pa.RecordBatch.from_pydict(done, ROW)

    tasks = in_partitions(frame, len(groups), F.col("number"))
    rows = tasks.mapInArrow(do, "number int, packed binary").collect()
    return [unpacked(bytes(row["packed"])) for row in sorted(rows, key=lambda row: row["number"])]


def divided(items: Sequence[Item], tasks: int) -> list[Sequence[Item]]:
    """The items in at most `tasks` groups of like size, neighbors together."""
    tasks = min(tasks, len(items))
    cuts = [len(items) * task // tasks for task in range(tasks + 1)] if tasks else []
    return [items[start:stop] for start, stop in pairwise(cuts)]


def packed(table: pa.Table) -> bytes:
    """A table as a compressed Arrow stream."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def unpacked(stream: bytes) -> pa.Table:
    """What was packed."""
    return pa.ipc.open_stream(stream).read_all()
