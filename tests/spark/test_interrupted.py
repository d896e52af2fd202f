"""A notebook's cell is interrupted: Python raises KeyboardInterrupt, and Spark's jobs go on by
themselves unless they are ended.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pyspark import InheritableThread
from pyspark.sql import SparkSession

from skinclf.spark.exclusive import exclusive
from skinclf.spark.job_groups import job_group

BLOCKS: dict[str, Callable[[SparkSession, Path], AbstractContextManager[object]]] = {
    "a folder's owner": lambda spark, path: exclusive(spark, str(path / "output"), "test"),
    "a group of jobs": lambda spark, _: job_group(spark.sparkContext, "interrupted", "test"),
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_the_jobs_of_an_interrupted_cell_end(
    spark: SparkSession,
    tmp_path: Path,
    block: Callable[[SparkSession, Path], AbstractContextManager[object]],
) -> None:
    errors: list[Exception] = []

    def job() -> None:
        try:
            spark.sparkContext.parallelize([0], 1).foreach(lambda _: time.sleep(600))
        except Exception as error:
            errors.append(error)

    def running() -> bool:
        return bool(spark.sparkContext.statusTracker().getActiveJobsIds())

    def interrupted() -> None:
        with block(spark, tmp_path):
            started.start()  # in a thread, so that this one can be interrupted at a known moment
            while not running():
                time.sleep(0.05)
            raise KeyboardInterrupt

    started = InheritableThread(target=job)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    started.join(timeout=60)
    assert not started.is_alive()
    assert "cancelled" in str(errors[0])
