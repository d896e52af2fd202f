"""The end of a session's jobs by a signal, or by an interrupted cell of a notebook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from pyspark.sql import SparkSession

from skinclf.spark.versions import is_connect
from skinclf.system.interruption import cancellations


@contextmanager
def cancelled_by_signals(spark: SparkSession) -> Iterator[None]:
    """End the jobs of a session of ours where a signal ends the block inside."""
    cancel = partial(_cancel_quietly, spark)
    cancellations.append(cancel)
    try:
        yield
    finally:
        cancellations.remove(cancel)


@contextmanager
def cancelled_by_interruption(cancel: Callable[[], object]) -> Iterator[None]:
    """Call `cancel` where a notebook's cell is interrupted in the block inside: Spark does not
    notice that by itself.
    """
    try:
        yield
    except KeyboardInterrupt:
        with suppress(Exception):  # any: the interruption is what is raised
            cancel()
        raise


def _cancel_quietly(spark: SparkSession) -> None:
    """End all jobs of a session of ours, of which Spark would print pages."""
    with suppress(Exception):  # any: the session may be stopping
        if is_connect(spark):
            spark.interruptAll()
            return
        spark.sparkContext.setLogLevel("OFF")
        java = spark._jvm.java  # type: ignore[union-attr]
        nothing = java.io.PrintStream(java.io.OutputStream.nullOutputStream())
        java.lang.System.setErr(nothing)  # what is not logged but printed, too
        spark.sparkContext.cancelAllJobs()


def stop_quietly(spark: SparkSession) -> None:
    """Stop a session, whatever state it is in."""
    with suppress(Exception):  # any: the process ends anyway
        spark.stop()
