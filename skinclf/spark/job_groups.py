"""Groups of Spark's jobs, by which they are counted and cancelled."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from pyspark import SparkContext

from skinclf.spark.cancelling import cancelled_by_interruption

PROPERTIES = ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel")
"""What Spark keeps of a thread's group."""


@contextmanager
def job_group(
    context: SparkContext, group: str, title: str, *, interrupts: bool = False
) -> Iterator[None]:
    """Jobs that this thread starts inside belong to `group`; then to the caller's own, if any.

    They end if a notebook's cell is interrupted. `interrupts`: the threads of their tasks are
    interrupted where the group is cancelled.
    """
    before = {key: context.getLocalProperty(key) for key in PROPERTIES}
    context.setJobGroup(group, title, interruptOnCancel=interrupts)
    try:
        with cancelled_by_interruption(partial(context.cancelJobGroup, group)):
            yield
    finally:
        with suppress(Exception):  # any: after an interruption the connection may be unusable
            for key, value in before.items():
                context.setLocalProperty(key, value)  # type: ignore[arg-type]
