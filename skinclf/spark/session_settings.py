"""The settings of the sessions that are started here, and those of every session that is used."""

import re
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from skinclf.config.schema import SparkConfig
from skinclf.spark.versions import is_connect

LOGGING = Path(__file__).with_name("log4j2.properties")

JVM_OPTIONS = "spark.driver.extraJavaOptions"

SHUFFLE_PARTITIONS = "spark.sql.shuffle.partitions"

LOCAL_DEFAULTS = {
    # For a session that this process starts itself; spark-submit's user decides for a cluster.
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",  # ours counts images, not tasks
    # The work is done in Python: the JVM's optimizing compiler would cost more than it saves
    # (prepare of 900 images from a cold start: 17 s without it, 23 s with it).
    # The same goes for a collector that works beside the job, to make pauses short.
    # Classes take 150 MB outside the heap: Java would collect garbage each time they have grown.
    # Without that compiler Java has room for 48 MB of compiled code, which a notebook's session
    # fills; it would then compile the same methods again and again.
    JVM_OPTIONS: (
        "-XX:TieredStopAtLevel=1 -XX:+UseParallelGC -XX:MetaspaceSize=256m "
        "-XX:ReservedCodeCacheSize=240m "
        f"-Dlog4j2.configurationFile={LOGGING.as_uri()}"
    ),
    SHUFFLE_PARTITIONS: "8",
    # It would join such small partitions and split large ones; each of its steps is a job more.
    "spark.sql.adaptive.enabled": "false",
    "spark.shuffle.compress": "false",  # pixels hardly shrink, and the disk is our own
}

LOOPBACK = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
"""Nobody else has to reach the driver where all executors are on this machine."""

INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
"""Spark would write and compile Java for each query. One machine's rows are few beside their
images: without it prepare of 900 images takes 0.90 of the time, and of 10,015 0.98. A join of a
million rows takes 6 s more, once."""

ON_THIS_MACHINE = re.compile(r"local|spark://(127\.|localhost\b)")
"""The beginning of a master whose executors are here."""

ALWAYS = {
    # A listing row is a few bytes but its image megabytes: small batches bound the memory.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "256",
    # Where Spark itself brings the files' bytes, these bound it, not the number of files.
    "spark.sql.execution.arrow.maxBytesPerBatch": "64m",
    # Rows of 22.5 kB: Spark's 4,096 would be read into blocks of 92 MB.
    "spark.sql.parquet.columnarReaderBatchSize": "128",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    # Metadata of some 300,000 images still goes to the pixels rather than they to it.
    "spark.sql.autoBroadcastJoinThreshold": "64m",
}


def defaults(config: SparkConfig) -> dict[str, str]:
    """For a session that this process starts itself."""
    here = LOOPBACK | INTERPRETED if ON_THIS_MACHINE.match(config.master) else {}
    return LOCAL_DEFAULTS | here | {"spark.driver.memory": config.driver_memory}


def set_settings(spark: SparkSession, settings: Mapping[str, str | None]) -> None:
    """Give a session these settings; None: take one away."""
    for key, value in settings.items():
        # Of serverless some settings are its own.
        with suppress(PySparkException) if is_connect(spark) else nullcontext():
            if value is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, value)
