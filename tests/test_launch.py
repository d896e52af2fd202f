import pytest

from skinclf.errors import TrainingError, WorkersLost
from skinclf.launch import _cause

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
        ("something that nobody has seen", WorkersLost, "something that nobody has seen"),
    ],
)
def test_errors_of_ours_are_final_and_all_else_is_tried_again(
    message: str, kind: type[TrainingError], cause: str
) -> None:
    """The messages are Spark's own, shortened."""
    assert _cause(message) == (kind, cause)
