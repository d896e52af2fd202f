"""The SparkSession of a job: the caller's where one runs, else one of its own."""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from skinclf.config.schema import SparkConfig
from skinclf.errors import ConfigError
from skinclf.spark.cancelling import cancelled_by_signals, stop_quietly
from skinclf.spark.session_guests import guest
from skinclf.spark.session_settings import ALWAYS, set_settings
from skinclf.spark.session_start import REMOTE, start
from skinclf.spark.versions import has, is_connect, is_supported, master_of
from skinclf.system.interruption import interrupted_by

STOP_SECONDS = 20.0

log = logging.getLogger(__name__)

STARTING = threading.Lock()
OURS: list[SparkSession] = []
"""The session that was started here, once for each job that uses it: in threads of a notebook."""


@contextmanager
def spark_session(
    name: str,
    config: SparkConfig,
    required: dict[str, str] | None = None,
    *,
    connect: bool = False,
) -> Iterator[SparkSession]:
    """The caller's running session where there is one, else one for this job alone.

    A session that was started here is stopped at the end. A running one (a notebook's, or that of
    a caller's own job) is used as a guest: it keeps running afterwards, with its settings restored.
    `required` are settings that the job can't do without: they win over the user's. `connect`: the
    job runs on Spark Connect, too. Raises ConfigError if Spark refuses the settings, or if a
    running session lacks a required one or is one of Spark Connect that the job can't use.
    """
    with STARTING:  # another thread may be about to start one
        running = running_session()
        remote = is_connect(running) if running else is_remote() or config.master.startswith(REMOTE)
        if remote and not connect:
            raise ConfigError(
                f"{name} does not run on Spark Connect, as serverless and shared clusters have it: "
                f"it needs a SparkContext. score and with_scores do. Use a cluster of your own "
                f'(spark-submit, single-user access), or spark.master = "local[*]"'
            )
        spark = running or start(name, config, required or {})
        ours = running is None or spark in OURS
        if ours:
            OURS.append(spark)
    with ExitStack() as stack:
        if ours:
            stack.callback(_leave, spark)
        if running:
            stack.enter_context(guest(spark, required))
        else:
            log.info("Spark %s on %s", spark.version, master_of(spark) or "Spark Connect")
            stack.enter_context(cancelled_by_signals(spark))
        if not is_supported(spark.version):
            raise ConfigError(f"this is Spark {spark.version}; skinclf runs on 3.5 and all of 4")
        settings = ALWAYS | {key: config.conf[key] for key in ALWAYS if key in config.conf}
        if is_connect(spark) and not has("toArrow"):
            raise ConfigError(f"Spark Connect is used from Spark 4.0 on; this is {spark.version}")
        set_settings(spark, settings)
        yield spark


def running_session() -> SparkSession | None:
    """The session of this process, whichever thread it was started in."""
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    # Which one is active, each thread has for itself.
    started = getattr(SparkSession, "_instantiatedSession", None)
    return started if started is not None and started.sparkContext._jsc is not None else None


def _leave(spark: SparkSession) -> None:
    """End the use of a session of OURS, which is stopped when nobody uses it any more."""
    with STARTING:
        OURS.remove(spark)
        if OURS:
            return
        if interrupted_by() is None:
            with suppress(ConnectionError):  # the JVM has ended already
                spark.stop()
            return
    # In another thread: the call that was interrupted has this one's connection to the JVM.
    stopping = threading.Thread(target=partial(stop_quietly, spark), daemon=True)
    stopping.start()
    stopping.join(STOP_SECONDS)
