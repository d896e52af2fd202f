"""The Spark session that all tests of a process share."""

from contextlib import ExitStack

from pyspark.sql import SparkSession

from skinclf.config.schema import SparkConfig
from skinclf.spark.session import spark_session


def shared_session(sessions: ExitStack) -> SparkSession:
    """The session that runs, or a new one: for fixtures that outlive a test."""
    # The active one is not known for a moment where another thread has just used it: joining it
    # here would leave a guest in it, test by test.
    running = SparkSession.getActiveSession() or SparkSession._instantiatedSession
    if running is None:
        settings = SparkConfig(master="local[2]", driver_memory="1g")
        running = sessions.enter_context(spark_session("tests", settings))
    return running
