"""The use of a session of somebody else, who gets it back as it was."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import SparkSession

from skinclf.errors import ConfigError
from skinclf.spark.session_settings import ALWAYS, set_settings
from skinclf.spark.versions import is_connect


@dataclass
class _Guests:
    """The jobs that use a session of somebody else."""

    before: dict[str, str | None]  # its settings before the first of them
    jobs: int = 0


DEFAULTS = {"spark.dynamicAllocation.enabled": "false", "spark.speculation": "false"}
"""Spark's own, of settings that a job may require."""

CHANGING = threading.Lock()
"""Held while guests come and leave."""

GUESTS: dict[str, _Guests] = {}
"""By session: several jobs may use one at once, in threads of a notebook."""


@contextmanager
def guest(spark: SparkSession, required: dict[str, str] | None) -> Iterator[None]:
    """Leave a session with the settings that it has now, once its last guest leaves.

    Raises ConfigError unless it has the settings that are `required`.
    """
    missing = [
        f"{key}={value}"
        for key, value in (required or {}).items()
        if spark.sparkContext.getConf().get(key, DEFAULTS.get(key)) != value
    ]
    if missing:
        raise ConfigError(
            f"the running Spark session lacks settings that this job needs: {', '.join(missing)}. "
            f"Start the session with them, or stop it: the job then starts one of its own"
        )
    session = _identity(spark)
    with CHANGING:
        if session not in GUESTS:
            GUESTS[session] = _Guests({key: spark.conf.get(key, None) for key in ALWAYS})
        guests = GUESTS[session]
        guests.jobs += 1
    try:
        yield
    finally:
        with CHANGING:
            guests.jobs -= 1
            if not guests.jobs:
                del GUESTS[session]
                set_settings(spark, guests.before)


def _identity(spark: SparkSession) -> str:
    """Of the session, for which Python may have several objects."""
    if is_connect(spark):
        return str(spark.session_id)  # type: ignore[attr-defined]
    return str(spark._jsparkSession.hashCode())
