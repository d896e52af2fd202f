"""What Spark says of a failed job → the error that it becomes. The messages are Spark's own."""

import errno
import os

import pytest

from skinclf.errors import (
    ConfigError,
    ExecutorsLost,
    SparkJobError,
    StorageError,
    StorageUnavailable,
)
from skinclf.spark.failures import failure, spark_failures, start_failure

ABORTED = (
    "Job aborted due to stage failure: Task 3 in stage 2.0 failed 4 times, most recent failure"
)


@pytest.mark.parametrize(
    "message",
    [
        f"{ABORTED}: Lost task 3.3 in stage 2.0 (TID 9) (10.0.0.7 executor 1): ExecutorLostFailure "
        "(executor 1 exited caused by one of the running tasks) Reason: Container killed by YARN",
        "Job aborted due to stage failure: Master removed our application: FAILED",
        "Job 4 cancelled because SparkContext was shut down",
        "Job aborted due to stage failure: ResultStage 5 has failed the maximum allowable number "
        "of times: 4. org.apache.spark.shuffle.MetadataFetchFailedException: Missing an output",
        "java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.",
    ],
)
def test_machines_that_are_gone_are_worth_another_try(message: str) -> None:
    error = failure("scores", message)
    assert type(error) is ExecutorsLost
    assert error.exit_status == 75
    assert "Rerun" in str(error) or "rerun" in str(error)


def test_a_process_that_crashes_is_not() -> None:
    """Another one may crash at the same image."""
    told = (
        f"{ABORTED}: org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)"
    )
    error = failure("scores", told)
    assert (type(error), error.exit_status) == (SparkJobError, 1)


def test_an_error_of_a_task_of_ours_is_raised_as_it_is() -> None:
    told = "Traceback …\nskinclf.errors.StorageUnavailable: a.zip: can't be read now\n ExecutorLost"
    error = failure("scores", told)
    assert (type(error), str(error)) == (StorageUnavailable, "a.zip: can't be read now")


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        # spark://nowhere:7077 by Spark 4 and 3.5, k8s://https://nowhere
        ("java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.", "lost"),
        (
            "java.lang.IllegalArgumentException: requirement failed: Can only call "
            "getServletHandlers on a running MetricsSystem",
            "lost",
        ),
        (
            "org.apache.spark.SparkException: External scheduler cannot be instantiated\n"
            "Caused by: java.net.UnknownHostException: nowhere",
            "lost",
        ),
        ("java.lang.IllegalArgumentException: System memory 259522560 must be at least", "wrong"),
    ],
)
def test_a_master_that_is_not_reached_is_worth_another_try(cause: str, kind: str) -> None:
    told = f"An error occurred while calling None.JavaSparkContext.\n: {cause}\n\tat org.X(X.java)"
    error = start_failure(told)
    assert type(error) is {"lost": ExecutorsLost, "wrong": ConfigError}[kind]
    assert cause.partition("\n")[0].removeprefix("org.apache.spark.SparkException: ") in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        ("OSError: [Errno 116] Stale file handle: '/mnt/tensors'", 75),
        ("OSError: [Errno 5] Error reading bytes. Detail: [errno 5] Input/output error", 75),
        ("TimeoutError: [Errno 110] Connection timed out", 75),
        ("OSError: When reading: AWS Error SLOW_DOWN during GetObject operation", 75),
        ("OSError: google::cloud::Status(UNAVAILABLE: try again)", 75),
        ("OSError: org.apache.hadoop.ipc.StandbyException: not the active one", 75),
        ("OSError: When reading: AWS Error ACCESS_DENIED during GetObject operation", 1),
        ("OSError: Corrupt snappy compressed data.", 1),  # of a damaged file
        ("PermissionError: [Errno 13] Permission denied: '/mnt/tensors'", 1),
        ("TimeoutError: timed out", 1),
    ],
)
def test_storage_that_fails_a_task_is_worth_another_try(cause: str, status: int) -> None:
    message = (
        f"{ABORTED}: Lost task 3.3\nTraceback (most recent call last):\n  File x\n{cause}\n\n\tat o"
    )
    error = failure("dataset", message)
    assert type(error) is (StorageUnavailable if status == 75 else SparkJobError)
    assert (error.exit_status, cause in str(error)) == (status, True)


def test_a_driver_that_may_not_write_does_not_wait_for_the_storage() -> None:
    for number, error, status in (
        (errno.EACCES, StorageError, 1),
        (errno.EIO, StorageUnavailable, 75),
        (errno.ENOENT, StorageError, 1),  # what is gone doesn't come back
    ):
        with pytest.raises(error, match="dataset: ") as caught, spark_failures("dataset"):
            raise OSError(number, os.strerror(number))
        assert caught.value.exit_status == status
