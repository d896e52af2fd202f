"""The start of a session of this process's own: on this machine, a cluster, or Spark Connect."""

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.find_spark_home import _find_spark_home
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from skinclf.config.schema import SparkConfig
from skinclf.errors import ConfigError, ExecutorsLost
from skinclf.spark.cancelling import stop_quietly
from skinclf.spark.class_archive import ClassArchive, class_archive
from skinclf.spark.failures import root_cause, start_failure
from skinclf.spark.java import ensure_java
from skinclf.spark.session_settings import JVM_OPTIONS, LOOPBACK, SHUFFLE_PARTITIONS, defaults
from skinclf.system.interruption import in_one_piece
from skinclf.system.spark_submit import under_spark_submit
from skinclf.system.uris import without_secrets

log = logging.getLogger(__name__)

DEFAULTS_OF_THE_JVM: dict[str, str] = {}
"""The settings of the first session that this process started. Its JVM outlives it, and takes
them as the defaults of later ones: after a training, say, a scoring would start its Python workers
anew for each task."""

REMOTE = "sc://"
"""How the address of a server of Spark Connect begins; it may hold a token."""

CONNECT_AWAY = re.compile("UNAVAILABLE|RETRIES_EXCEEDED|[Ff]ailed to connect")
"""What is said of a server of Spark Connect that does not answer."""

START_TRIES = 3

RACE = "java.util.ConcurrentModificationException"
"""What Spark fails with where two of its threads change one list."""


def start(name: str, config: SparkConfig, required: dict[str, str]) -> SparkSession:
    """A new session. `required` are settings that win over the user's.

    Raises ConfigError if Spark refuses the settings.
    """
    if is_remote() or config.master.startswith(REMOTE):
        return _connected(config)
    ensure_java()
    builder = SparkSession.builder.appName(f"skinclf {name}")
    settings = dict(config.conf)
    # Python workers run in the driver's own environment by default.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    ours = not under_spark_submit()
    if ours:
        settings = defaults(config) | settings
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
    spark = in_one_piece("Spark starts", partial(_created, builder), stop_quietly)
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


def with_retries(master: str) -> str:
    """A local master under which a task that lost its Python worker is tried again.

    As on a cluster: Spark's local mode gives up at the first loss unless `local[N, 4]` says how
    often to try.
    """
    match = re.fullmatch(r"local(?:\[([^,\]]+)\])?", master)
    return f"local[{match[1] or 1},4]" if match else master


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
    log.info("connecting to Spark Connect; pyspark tries for some ten minutes where it is away")
    try:
        for key, value in config.conf.items():
            builder = builder.config(key, value)
        spark = builder.getOrCreate()
        _ = spark.version  # the first thing that the server is asked
    except ImportError as error:
        raise ConfigError(f"Spark Connect: {error}. pip install 'skinclf[connect]'") from None
    except PySparkException as error:
        said = without_secrets(str(error))
        if CONNECT_AWAY.search(said):
            details = re.search('details = "(.*)"', said)  # of gRPC's account
            cause = details[1] if details else root_cause(said)
            raise ExecutorsLost(
                f"Spark Connect is not reached: {cause}. Rerun the same command once it is there"
            ) from error
        raise ConfigError(f"Spark Connect: {said}") from error
    return spark


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
