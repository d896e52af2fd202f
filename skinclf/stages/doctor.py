"""Settings → what prevents the cluster from training."""

from skinclf.config.schema import Config
from skinclf.distributed.launcher import REQUIRED_CONF
from skinclf.distributed.preflight import Check, preflight
from skinclf.spark.failures import spark_failures
from skinclf.spark.session import spark_session
from skinclf.stages.train import checked

REGISTRATION_SECONDS = 15
"""Executors take a moment to register; after that, what is there is reported."""


def doctor(config: Config) -> list[Check]:
    """The checks that `train` makes with the same settings; trains nothing.

    Raises UsageError children where settings, dataset or run folder alone are wrong, and what
    `spark_failures` does.
    """
    _, dataset, folder, _ = checked(config)
    required = {} if config.train.local_mode else REQUIRED_CONF
    run = folder.path
    with spark_session("doctor", config.spark, required) as spark, spark_failures(run):
        seconds = min(REGISTRATION_SECONDS, config.fault_tolerance.slot_wait_timeout_seconds)
        limits = config.fault_tolerance.model_copy(update={"slot_wait_timeout_seconds": seconds})
        return preflight(spark, dataset, run, config.train, limits)
