"""The one place where a SparkSession is made."""

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.find_spark_home import _find_spark_home
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from skinclf.config.schema import SparkConfig
from skinclf.errors import ConfigError
from skinclf.spark.class_archive import ClassArchive, class_archive
from skinclf.spark.failures import start_failure
from skinclf.spark.java import ensure_java
from skinclf.spark.versions import (
    add_tag,
    cancel_tag,
    has,
    is_connect,
    is_supported,
    master_of,
    remove_tag,
)
from skinclf.storage.ownership import owned
from skinclf.system.interruption import cancellations, in_one_piece, interrupted_by
from skinclf.system.spark_submit import under_spark_submit
from skinclf.system.uris import without_secrets

STOP_SECONDS = 20.0

log = logging.getLogger(__name__)

STARTING = threading.Lock()
OURS: list[SparkSession] = []
"""The session that was started here, once for each job that uses it: in threads of a notebook."""

DEFAULTS_OF_THE_JVM: dict[str, str] = {}
"""The settings of the first session that this process started. Its JVM outlives it, and takes
them as the defaults of later ones: after a training, say, a scoring would start its Python workers
anew for each task."""


@dataclass
class _Guests:
    """The jobs that use a session of somebody else."""

    before: dict[str, str | None]  # its settings before the first of them
    jobs: int = 0


GUESTS: dict[str, _Guests] = {}
"""By session: several jobs may use one at once, in threads of a notebook."""

LOGGING = Path(__file__).with_name("log4j2.properties")

JVM_OPTIONS = "spark.driver.extraJavaOptions"

REMOTE = "sc://"
"""How the address of a server of Spark Connect begins; it may hold a token."""

START_TRIES = 3

RACE = "java.util.ConcurrentModificationException"
"""What Spark fails with where two of its threads change one list."""

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


def with_retries(master: str) -> str:
    """A local master under which a task that lost its Python worker is tried again.

    As on a cluster: Spark's local mode gives up at the first loss unless `local[N, 4]` says how
    often to try.
    """
    match = re.fullmatch(r"local(?:\[([^,\]]+)\])?", master)
    return f"local[{match[1] or 1},4]" if match else master


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
        spark = running or _start(name, config, required or {})
        ours = running is None or spark in OURS
        if ours:
            OURS.append(spark)
    with ExitStack() as stack:
        if ours:
            stack.callback(_leave, spark)
        if running:
            stack.enter_context(_guest(spark, required))
        else:
            log.info("Spark %s on %s", spark.version, master_of(spark) or "Spark Connect")
            stack.enter_context(_cancelled_by_signals(spark))
        if not is_supported(spark.version):
            raise ConfigError(f"this is Spark {spark.version}; skinclf runs on 3.5 and all of 4")
        settings = ALWAYS | {key: config.conf[key] for key in ALWAYS if key in config.conf}
        if is_connect(spark) and not has("toArrow"):
            raise ConfigError(f"Spark Connect is used from Spark 4.0 on; this is {spark.version}")
        _set(spark, settings)
        yield spark


@contextmanager
def _guest(spark: SparkSession, required: dict[str, str] | None) -> Iterator[None]:
    """Leave a session with the settings that it has now, once its last guest leaves.

    Raises ConfigError unless it has the settings that are `required`.
    """
    missing = [
        f"{key}={value}"
        for key, value in (required or {}).items()
        if spark.sparkContext.getConf().get(key) != value
    ]
    if missing:
        raise ConfigError(
            f"the running Spark session lacks settings that this job needs: {', '.join(missing)}. "
            f"Start the session with them, or stop it: the job then starts one of its own"
        )
    session = _identity(spark)
    with STARTING:
        if session not in GUESTS:
            GUESTS[session] = _Guests({key: spark.conf.get(key, None) for key in ALWAYS})
        guests = GUESTS[session]
        guests.jobs += 1
    try:
        yield
    finally:
        with STARTING:
            guests.jobs -= 1
            if not guests.jobs:
                del GUESTS[session]
                _set(spark, guests.before)


def _identity(spark: SparkSession) -> str:
    """Of the session, for which Python may have several objects."""
    if is_connect(spark):
        return str(spark.session_id)  # type: ignore[attr-defined]
    return str(spark._jsparkSession.hashCode())


def _set(spark: SparkSession, settings: Mapping[str, str | None]) -> None:
    """Give a session these settings; None: take one away."""
    for key, value in settings.items():
        # Of serverless some settings are its own.
        with suppress(PySparkException) if is_connect(spark) else nullcontext():
            if value is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, value)


def running_session() -> SparkSession | None:
    """The session of this process, whichever thread it was started in."""
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    # Which one is active, each thread has for itself.
    started = getattr(SparkSession, "_instantiatedSession", None)
    return started if started is not None and started.sparkContext._jsc is not None else None


@contextmanager
def _cancelled_by_signals(spark: SparkSession) -> Iterator[None]:
    cancel = partial(_cancel_quietly, spark)
    cancellations.append(cancel)
    try:
        yield
    finally:
        cancellations.remove(cancel)


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
    stopping = threading.Thread(target=partial(_stop_quietly, spark), daemon=True)
    stopping.start()
    stopping.join(STOP_SECONDS)


@contextmanager
def exclusive(spark: SparkSession, folder: str, job: str) -> Iterator[Callable[[], None]]:
    """Own an output folder during the block inside; Spark's jobs of it end if it is lost. Yields
    the check of `owned`.

    Raises UsageError if another job owns it.
    """
    tag = f"skinclf-{uuid4().hex}"
    add_tag(spark, tag)
    try:
        with owned(folder, job, partial(cancel_tag, spark, tag)) as check:
            yield check
    finally:
        with suppress(Exception):  # any: after an interruption the connection may be unusable
            remove_tag(spark, tag)


def _start(name: str, config: SparkConfig, required: dict[str, str]) -> SparkSession:
    if is_remote() or config.master.startswith(REMOTE):
        return _connected(config)
    ensure_java()
    builder = SparkSession.builder.appName(f"skinclf {name}")
    settings = dict(config.conf)
    # Python workers run in the driver's own environment by default.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    ours = not under_spark_submit()
    if ours:
        settings = _defaults(config) | settings
        if LOOPBACK.items() <= settings.items():
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # else Spark warns of the choice
        builder = builder.master(with_retries(config.master))
    archive = _class_archive(config)
    options = archive.options() if archive else []
    if options:
        settings[JVM_OPTIONS] += "".join(f' "{option}"' for option in options)
    settings |= required
    for key, value in settings.items():
        builder = builder.config(key, value)
    if ours:
        _forget_defaults(settings)
    spark = in_one_piece("Spark starts", partial(_created, builder), _stop_quietly)
    if (
        ours
        and SHUFFLE_PARTITIONS not in config.conf
        and str(spark.sparkContext.master).startswith("local[")
    ):
        # One a core: rows without pixels are small, and each task costs its start.
        spark.conf.set(SHUFFLE_PARTITIONS, str(spark.sparkContext.defaultParallelism))
    if archive and archive.class_list.exists():
        jvm = spark._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean()  # type: ignore[union-attr]
        archive.write_at_exit(str(jvm.getClassPath()), list(map(str, jvm.getInputArguments())))
    return spark


def _forget_defaults(settings: Mapping[str, str]) -> None:
    """Have a session of `settings` begin as in a new process. Raises ConfigError where it can't."""
    gateway = SparkContext._gateway  # type: ignore[attr-defined]
    if gateway is None:  # the JVM starts with it
        DEFAULTS_OF_THE_JVM.update(settings)
        return
    is_here = LOOPBACK.items() <= DEFAULTS_OF_THE_JVM.items()
    if is_here and "spark.driver.host" not in settings:
        raise ConfigError(
            "spark.master: this Python process has had a session on this machine alone, and its "
            "Java process keeps that address: a cluster would not reach it. Start Python anew"
        )
    for key in DEFAULTS_OF_THE_JVM:
        gateway.jvm.java.lang.System.clearProperty(key)


def _defaults(config: SparkConfig) -> dict[str, str]:
    """For a session that this process starts itself."""
    here = LOOPBACK | INTERPRETED if ON_THIS_MACHINE.match(config.master) else {}
    return LOCAL_DEFAULTS | here | {"spark.driver.memory": config.driver_memory}


def _created(builder: SparkSession.Builder) -> SparkSession:
    """The builder's session, tried again where the start met a race inside Spark.

    In YARN's client mode one thread of Spark adds the filter of YARN's proxy to the pages of the
    web UI while another starts these pages, and Spark gives up. The next try is a YARN
    application of its own.
    """
    tries_left = START_TRIES
    while True:
        tries_left -= 1
        try:
            with _own_signals():
                return builder.getOrCreate()
        except (Py4JError, PySparkException) as error:
            if not tries_left or RACE not in str(error):
                raise start_failure(str(error)) from error
        except OSError as error:  # of what pyspark starts
            raise ConfigError(
                f"Spark did not start: {error}. SPARK_HOME is {os.environ.get('SPARK_HOME')!r}: it "
                f"has to name the folder of a Spark, or to be unset"
            ) from error
        log.warning("Spark did not start: two of its threads met (%s). It starts again", RACE)


def _connected(config: SparkConfig) -> SparkSession:
    """A session on the server of Spark Connect that the master or the environment names."""
    builder = SparkSession.builder
    if config.master.startswith(REMOTE):
        builder = builder.remote(config.master)
    try:
        for key, value in config.conf.items():
            builder = builder.config(key, value)
        return builder.getOrCreate()
    except ImportError as error:
        raise ConfigError(f"Spark Connect: {error}. pip install 'skinclf[connect]'") from None
    except PySparkException as error:
        raise ConfigError(f"Spark Connect: {without_secrets(str(error))}") from error


def _class_archive(config: SparkConfig) -> ClassArchive | None:
    """The archive of classes for the JVM that is about to be started.

    None where it runs already, where it is not we who start it, and where its options are the
    user's own.
    """
    ours = not under_spark_submit() and SparkContext._gateway is None
    if ours and config.share_classes and JVM_OPTIONS not in config.conf:
        return class_archive(_find_spark_home())
    return None


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handler of SIGINT. Spark's own would call the JVM in the middle of another call."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


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


def _stop_quietly(spark: SparkSession) -> None:
    with suppress(Exception):  # any: the process ends anyway
        spark.stop()
