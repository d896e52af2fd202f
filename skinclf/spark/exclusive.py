"""A job's output folder, which no other job writes to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from uuid import uuid4

from pyspark.sql import SparkSession

from skinclf.spark.cancelling import cancelled_by_interruption
from skinclf.spark.versions import add_tag, cancel_tag, remove_tag
from skinclf.storage.ownership import owned


@contextmanager
def exclusive(spark: SparkSession, folder: str, job: str) -> Iterator[Callable[[], None]]:
    """Own an output folder during the block inside; Spark's jobs of it end if it is lost, or if a
    notebook's cell is interrupted. Yields the check of `owned`.

    Raises UsageError if another job owns it.
    """
    tag = f"skinclf-{uuid4().hex}"
    add_tag(spark, tag)
    cancel = partial(cancel_tag, spark, tag)
    try:
        with owned(folder, job, cancel) as check, cancelled_by_interruption(cancel):
            yield check
    finally:
        with suppress(Exception):  # any: after an interruption the connection may be unusable
            remove_tag(spark, tag)
