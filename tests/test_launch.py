import time

import pytest

from skinclf.config import SuperviseConfig
from skinclf.errors import TrainingError, WorkersLost
from skinclf.launch import Patience, _cause

FAILED = "Job aborted due to stage failure: Could not recover from a failed barrier ResultStage."


@pytest.mark.parametrize(
    ("message", "kind", "cause"),
    [
        (
            f"{FAILED}\nTraceback (most recent call last):\nskinclf.errors.DatasetError: x: broken",
            TrainingError,
            "DatasetError: x: broken",
        ),
        (
            f"{FAILED}\norg.apache.spark.SparkException: Python worker exited unexpectedly "
            "(crashed). Consider setting 'spark.python.worker.faulthandler.enabled'",
            WorkersLost,
            "Python worker exited unexpectedly (crashed)",
        ),
        (
            f"{FAILED}\ntensorflow.python.framework.errors_impl.UnavailableError: peer is gone",
            WorkersLost,
            "tensorflow.python.framework.errors_impl.UnavailableError: peer is gone",
        ),
        (
            "An error occurred while calling o1.count.\n: org.apache.spark.SparkException: Job "
            "aborted due to stage failure: Lost task: Python worker exited unexpectedly (crashed)\n"
            "Caused by: org.apache.spark.SparkException: Python worker exited unexpectedly "
            "(crashed)",
            WorkersLost,
            "Python worker exited unexpectedly (crashed)",
        ),
        ("something that nobody has seen", WorkersLost, "something that nobody has seen"),
    ],
)
def test_errors_of_ours_are_final_and_all_else_is_tried_again(
    message: str, kind: type[TrainingError], cause: str
) -> None:
    """The messages are Spark's own, shortened."""
    assert _cause(message) == (kind, cause)


LIMITS = SuperviseConfig(start_seconds=100, silence_seconds=10, stall_seconds=30)


def beat(worker: int, count: int, **state: object) -> dict[str, object]:
    about = {"worker": worker, "host": "node", "pid": 70 + worker, "count": count}
    return about | {"doing": "training"} | state


def test_a_worker_that_tells_nothing_is_named() -> None:
    patience, now = Patience(LIMITS), time.monotonic()
    assert patience.lost_with([beat(0, 1), beat(1, 1)], now) == ""
    assert patience.lost_with([beat(0, 2), beat(1, 1)], now + 9) == ""
    cause = patience.lost_with([beat(0, 3), beat(1, 1)], now + 11)
    assert cause == "worker 1 (node, process 71) told nothing for 11 s, last: training"


def test_steps_that_stand_still_while_all_workers_tell_are_a_stall() -> None:
    patience, now = Patience(LIMITS), time.monotonic()
    for second in range(0, 61, 5):
        beats = [beat(0, second, epoch=1, step=min(second, 30)), beat(1, second)]
        assert patience.lost_with(beats, now + second) == ""
    cause = patience.lost_with([beat(0, 61, epoch=1, step=30), beat(1, 61)], now + 61)
    assert cause.startswith("no step for 30 s (worker 0 (node, process 70): training; worker 1")


def test_workers_that_never_start_are_given_up_after_the_longer_limit() -> None:
    patience, now = Patience(LIMITS), time.monotonic()
    assert patience.lost_with([{}, {}], now + 99) == ""
    assert patience.lost_with([{}, {}], now + 101) == "no step for 100 s (no worker has started)"
