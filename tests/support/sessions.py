"""The Spark session that all tests of a process share."""

from contextlib import ExitStack

from pyspark.sql import SparkSession

from skinclf.config.schema import SparkConfig
from skinclf.spark.session import running_session, spark_session


def shared_session(sessions: ExitStack) -> SparkSession:
    """The session that runs, or a new one: for fixtures that outlive a test."""
    running = running_session()  # not the active one, which each thread has for itself
    if running is None:
        settings = SparkConfig(master="local[2]", driver_memory="1g")
        running = sessions.enter_context(spark_session("tests", settings))
    return running
