"""Spark tasks whose work Python does itself: no query is planned, which costs seconds at a start.

Tasks open files by pyarrow and return tables, packed: what is in the files never crosses the JVM.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import pyarrow as pa
from pyspark.sql import SparkSession

Item = TypeVar("Item")


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
    tasks = spark.sparkContext.parallelize([list(group) for group in groups], len(groups))

    def packed_results(parts: Iterable[list[Item]]) -> Iterator[bytes]:
        for part in parts:
            tables = list(work(part))
            if tables:
                yield packed(pa.concat_tables(tables))

    return [unpacked(result) for result in tasks.mapPartitions(packed_results).collect()]


def divided(items: Sequence[Item], tasks: int) -> list[Sequence[Item]]:
    """The items in at most `tasks` groups of like size, neighbours together."""
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
