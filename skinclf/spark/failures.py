"""Why a Spark job failed, in one line out of its pages."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from skinclf import errors
from skinclf.errors import (
    ConfigError,
    ExecutorsLost,
    SkinclfError,
    SparkJobError,
    StorageError,
    StorageUnavailable,
)
from skinclf.system.retrying import LASTING, is_final, is_gone, may_pass

OURS = "skinclf.errors."
TELLING = re.compile(
    r"ExecutorLostFailure|Python worker exited|^[\w.]+(Error|Exception)(: |$)|cancelled"
)
LOST = re.compile(
    r"ExecutorLostFailure|FetchFailed|MetadataFetchFailedException|All masters are unresponsive"
    r"|Master removed our application|SparkContext was shut down|stopped SparkContext"
)
"""What Spark says where machines are gone. A Python worker alone that crashes is not among it: the
next one may crash at the same image."""

NOT_REACHED = re.compile(
    r"stopped SparkContext|on a running MetricsSystem|ConnectException|UnknownHostException"
    r"|DAGScheduler\.metricsSource"
)
"""What Spark says where it does not start since its master is not there. A standalone one is tried
for a minute; the session has stopped when it is first asked."""

OF_A_FILE = re.compile(r"(?:OSError|TimeoutError|Connection\w*Error): (?:\[Errno (\d+)\] )?(.*)")
"""The last line of Python's account of an error of a file or of storage."""

OF_STORAGE = re.compile(r"(?i)(AWS|Azure) Error|google::cloud::Status|hdfs|hadoop|namenode")
"""What only errors of storage on a network say, which have no errno. Others without one may be of a
damaged file.
"""

AGAIN = "Rerun the same command to resume, once the storage is back"
SAYS_NOTHING = ("org.apache.spark.SparkException: Job aborted", "py4j.")


def own_error(message: str) -> str:
    """The error of ours that a task raised, as `Name: message`; "" where it was another."""
    lines = (line.strip() for line in message.splitlines())
    return next((line.removeprefix(OURS) for line in lines if line.startswith(OURS)), "")


def root_cause(message: str) -> str:
    """The most informative line of Spark's account of a failed job."""
    lines = [line.strip().lstrip(": ") for line in message.splitlines() if line.strip()]
    lines = [line.removeprefix("Caused by: ") for line in lines]
    causes = [line for line in lines if TELLING.search(line) and not line.startswith(SAYS_NOTHING)]
    cause = (causes or lines or [""])[0].removeprefix("org.apache.spark.SparkException: ")
    return cause.partition(". Consider setting")[0]


@contextmanager
def spark_failures(place: str) -> Iterator[None]:
    """Raise what a task of a Spark job inside raised of ours, else SparkJobError with the cause;
    ExecutorsLost or StorageUnavailable where it is machines or the storage that failed.

    `place` is what the job was working on.
    """
    try:
        yield
    except (Py4JError, PySparkException) as error:
        raise failure(place, str(error)) from error
    except ConnectionRefusedError as error:
        raise ExecutorsLost(
            f"{place}: Spark's JVM does not answer: it has ended, perhaps for lack of memory "
            f"(spark.driver_memory). Rerun the same command to resume"
        ) from error
    except OSError as error:  # of the driver's own reading and writing
        if error.errno in LASTING or is_final(error):
            raise StorageError(f"{place}: {error}") from error
        if is_gone(error):
            raise StorageError(
                f"{place}: {error}. A file that was there is gone: of the dataset, the run or what "
                f"was written. Restore it, or make anew what it belongs to"
            ) from error
        raise StorageUnavailable(f"{place}: {error}. {AGAIN}") from error


def failure(place: str, message: str) -> SkinclfError:
    """The error behind Spark's account of a failed job."""
    name, _, text = own_error(message).partition(": ")
    kind = getattr(errors, name, None)
    if kind is not None:
        return kind(text)
    cause = root_cause(message)
    if LOST.search(message):
        return ExecutorsLost(
            f"{place}: Spark lost machines: {cause}. Nothing is lost; rerun the same command to "
            f"resume, once the cluster is back"
        )
    if may_pass(_error_of_storage(cause)):
        return StorageUnavailable(f"{place}: {cause}. {AGAIN}")
    return SparkJobError(
        f"{place}: Spark ended the job: {cause}. Nothing is lost; rerun the same "
        f"command once the cause is mended"
    )


def _error_of_storage(cause: str) -> OSError | None:
    """The error that a task had of a file or of storage, by its line; None for any other."""
    found = OF_A_FILE.match(cause)
    if found is None:
        return None
    number, text = found.groups()
    if number is not None:
        return OSError(int(number), text)
    return OSError(text) if OF_STORAGE.search(text) else None


def start_failure(message: str) -> SkinclfError:
    """The error behind Spark's account of a session that did not start."""
    cause = root_cause(message)
    if NOT_REACHED.search(message):
        return ExecutorsLost(
            f"Spark's master (spark.master, or --master of spark-submit) is not reached: {cause} "
            f"Rerun the same command once it is there"
        )
    return ConfigError(f"Spark did not start with [spark] of the config: {cause}")
