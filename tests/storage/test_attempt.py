from dataclasses import replace
from pathlib import Path

import pytest

from skinclf.errors import DatasetError, TrainingError
from skinclf.storage.attempt import (
    Heartbeat,
    WorkerError,
    begin_attempt,
    check_attempt,
    current_attempt,
    read_errors,
    read_heartbeat,
    write_error,
    write_heartbeat,
)

HEARTBEAT = Heartbeat(worker=0, host="node", pid=70, count=1, doing="training", epoch=2, step=7)


@pytest.fixture
def run(tmp_path: Path) -> str:
    return str(tmp_path / "run")


def test_the_last_attempt_to_begin_may_write(run: str) -> None:
    assert current_attempt(run) == ""
    begin_attempt(run, "old")
    begin_attempt(run, "new")
    assert current_attempt(run) == "new"
    check_attempt(run, "new")
    with pytest.raises(TrainingError, match="another attempt to train this run has begun"):
        check_attempt(run, "old")


def test_heartbeats_of_an_earlier_attempt_are_not_those_of_the_next(run: str) -> None:
    """A worker that was frozen and comes back must not keep the watchdog quiet."""
    begin_attempt(run, "old")
    write_heartbeat(run, "old", HEARTBEAT)
    assert read_heartbeat(run, "old", 0) == HEARTBEAT
    begin_attempt(run, "new")
    write_heartbeat(run, "old", replace(HEARTBEAT, count=2))
    assert read_heartbeat(run, "new", 0) is None
    write_heartbeat(run, "new", replace(HEARTBEAT, pid=80))
    write_heartbeat(run, "old", replace(HEARTBEAT, count=3))
    assert read_heartbeat(run, "new", 0) == replace(HEARTBEAT, pid=80)


def test_reports_of_earlier_attempts_are_deleted_and_nothing_of_a_user_s(run: str) -> None:
    old, new = (digit * 32 for digit in "ab")
    begin_attempt(run, old)
    write_heartbeat(run, old, HEARTBEAT)
    own = Path(run, "workers", "main.py")
    own.write_text("of somebody who trains into a folder of theirs")
    begin_attempt(run, new)
    write_heartbeat(run, new, HEARTBEAT)
    assert sorted(path.name for path in own.parent.iterdir()) == [new, "main.py"]


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (DatasetError("x: broken"), False),
        (ModuleNotFoundError("No module named 'keras'"), False),
        (KeyError("label"), False),
        (ConnectionResetError("peer is gone"), True),
        (RuntimeError("something that nobody has seen"), True),
    ],
)
def test_a_worker_s_error_is_reported_as_data(run: str, error: Exception, retryable: bool) -> None:
    begin_attempt(run, "new")
    write_error(run, "new", 1, error)
    assert read_errors(run, "new", 2) == [WorkerError(type(error).__name__, str(error), retryable)]
    assert read_errors(run, "other", 2) == []
