"""How many tasks of one stage the cluster can run at once, and waiting until it can."""

import logging
import time
from collections.abc import Callable

from pyspark.sql import SparkSession

from skinclf.errors import SlotsUnavailable

POLL_SECONDS = 1.0
LOG_SECONDS = 30.0

log = logging.getLogger(__name__)


def count_slots(spark: SparkSession) -> int:
    """How many tasks the executors that are there now can run at once.

    The number by which Spark itself decides whether a barrier stage may start
    (SparkContext.maxNumConcurrentTasks, open to its own packages and so to the gateway).
    """
    context = spark.sparkContext._jsc.sc()  # type: ignore[union-attr]
    profile = context.resourceProfileManager().defaultResourceProfile()
    return int(context.maxNumConcurrentTasks(profile))


def wait_for_slots(
    spark: SparkSession,
    slots: int,
    seconds: float,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Return when a barrier stage of `slots` tasks fits the cluster; logs what it waits for.

    Raises SlotsUnavailable after `seconds`; `wait` is called between looks and may raise an error.
    Spark alone would check every 15 s, 40 times, and log nothing meanwhile (SPARK-24819).
    """
    start = time.monotonic()
    logged = 0.0
    while (found := count_slots(spark)) < slots:
        now = time.monotonic()
        if now - start >= seconds:
            raise SlotsUnavailable(
                f"train.slots: {slots} slots are needed at once and the cluster has {found} "
                f"(after {seconds:.0f} s, fault_tolerance.slot_wait_timeout_seconds). A slot is "
                f"spark.task.cpus free cores of an executor: add executors or cores, end other "
                f"applications, or train with fewer slots"
            )
        if now - start > 2 and now - logged >= LOG_SECONDS:  # executors take a moment to register
            logged = now
            log.info("waiting for %s slots; the cluster has %s now", slots, found)
        wait(POLL_SECONDS)
