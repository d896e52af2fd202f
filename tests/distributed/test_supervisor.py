import errno
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from skinclf.config.schema import FaultToleranceConfig, ModelConfig, TrainConfig
from skinclf.distributed import supervisor as launch
from skinclf.distributed.launcher import SparkLauncher, lost_by
from skinclf.distributed.supervisor import Supervisor, last_checkpoint
from skinclf.distributed.watchdog import Watchdog
from skinclf.errors import DatasetError, RunError, StorageUnavailable, TrainingError, WorkersLost
from skinclf.storage.attempt import WorkerError, current_attempt
from skinclf.storage.checkpoint_folder import CheckpointFolder, CheckpointName, checkpoint_names
from skinclf.storage.run_folder import RunFolder
from skinclf.training.checkpoints import Position, take_checkpoint
from skinclf.training.job import TrainingJob
from tests.support.datasets import dataset_of

FAILED = "Job aborted due to stage failure: Could not recover from a failed barrier ResultStage."
KEEP_ALL = TrainConfig(keep_checkpoints=100)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            f"{FAILED}\norg.apache.spark.SparkException: Python worker exited unexpectedly "
            "(crashed). Consider setting 'spark.python.worker.faulthandler.enabled'",
            "Python worker exited unexpectedly (crashed)",
        ),
        (
            f"{FAILED}\ntensorflow.python.framework.errors_impl.UnavailableError: peer is gone",
            "tensorflow.python.framework.errors_impl.UnavailableError: peer is gone",
        ),
        (
            "An error occurred while calling o1.count.\n: org.apache.spark.SparkException: Job "
            "aborted due to stage failure: Lost task: Python worker exited unexpectedly (crashed)\n"
            "Caused by: org.apache.spark.SparkException: Python worker exited unexpectedly "
            "(crashed)",
            "Python worker exited unexpectedly (crashed)",
        ),
        ("something that nobody has seen", "something that nobody has seen"),
    ],
)
def test_what_no_worker_reports_as_final_is_tried_again(message: str, cause: str) -> None:
    """The messages are Spark's own, shortened."""
    for reported in ([], [WorkerError("UnavailableError", "peer is gone", retryable=True)]):
        error = lost_by(reported, message)
        assert (type(error), str(error)) == (WorkersLost, cause)


def test_what_a_worker_reports_as_final_is_not_tried_again() -> None:
    reported = [
        WorkerError("UnavailableError", "peer is gone", retryable=True),
        WorkerError("ImportError", "no keras", retryable=False),
    ]
    error = lost_by(reported, "Python worker exited unexpectedly (crashed)")
    assert (type(error), str(error)) == (TrainingError, "ImportError: no keras")


def checkpoint(epochs: int) -> bytes:
    history = [{"epoch": float(n)} for n in range(1, epochs + 1)]
    model = SimpleNamespace(get_weights=lambda: [np.arange(1000.0)])
    optimizer = SimpleNamespace(variables=[])
    return take_checkpoint(Position(history, 0, [], 1.0), model, optimizer)  # type: ignore[arg-type]


def write_epoch(run: str, epochs: int) -> None:
    history = [{"epoch": float(n)} for n in range(1, epochs + 1)]
    CheckpointFolder(run, current_attempt(run)).write(checkpoint(epochs), history, 0, KEEP_ALL)


class Rehearsal:
    """A launcher whose attempts are `play`: what happens in each, by its number from 0."""

    def __init__(self, play: Callable[[int], None]) -> None:
        self.play = play
        self.attempts: list[TrainingJob] = []
        self.stopped, self.cancelled = threading.Event(), threading.Event()

    def wait_for_slots(self, config: TrainConfig, wait: Callable[[float], object]) -> None:
        pass

    def launch(self, job: TrainingJob) -> None:
        self.attempts.append(job)
        self.play(len(self.attempts) - 1)

    def stop(self) -> None:
        self.stopped.set()

    def cancel(self) -> None:
        self.cancelled.set()


def supervisor_of(
    launcher: Rehearsal, run: Path, train: TrainConfig | None = None, **limits: Any
) -> Supervisor:
    job = TrainingJob(
        dataset_of([], 1, ""), RunFolder(str(run)), ModelConfig(), train or TrainConfig()
    )
    return Supervisor(launcher, job, FaultToleranceConfig(**limits))


def nothing(_attempt: int) -> None:
    pass


def test_restarts_count_anew_after_a_newer_checkpoint(tmp_path: Path) -> None:
    """Four preemptions in a week, each after an epoch, end no healthy job."""

    def preempted(attempt: int) -> None:
        if attempt < 5:
            write_epoch(str(tmp_path), attempt + 1)
            raise WorkersLost("preempted")

    launcher = Rehearsal(preempted)
    supervisor_of(launcher, tmp_path, max_restarts=1).train()
    assert [attempt.resume[:10] for attempt in launcher.attempts] == [
        "",
        *(f"epoch-000{epoch}" for epoch in range(1, 6)),
    ]


def test_restarts_from_one_checkpoint_are_bounded(tmp_path: Path) -> None:
    def lost(_attempt: int) -> None:
        raise WorkersLost("machine is gone")

    launcher = Rehearsal(lost)
    with pytest.raises(WorkersLost, match=r"interrupted 3 times.*machine is gone") as caught:
        supervisor_of(launcher, tmp_path, max_restarts=2).train()
    assert caught.value.exit_status == 75  # the cluster may be better later
    names = [attempt.attempt for attempt in launcher.attempts]
    assert len(set(names)) == 3
    assert all(len(name) == 32 for name in names)  # a uuid: containers share hosts' and pids' names


def test_workers_that_are_lost_after_the_model_was_written_are_not_missed(tmp_path: Path) -> None:
    def lost(_attempt: int) -> None:
        (tmp_path / "model.keras").touch()
        raise WorkersLost("a machine went with its work done")

    launcher = Rehearsal(lost)
    supervisor_of(launcher, tmp_path, max_restarts=0).train()
    assert len(launcher.attempts) == 1


def test_a_share_that_is_away_for_a_moment_costs_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What made the workers fail makes the driver's next look at the run fail, too."""
    away = [OSError(errno.ESTALE, "stale")]
    reading = checkpoint_names

    def names(run: str) -> list[CheckpointName]:
        if launcher.attempts and away:
            raise away.pop()
        return reading(run)

    def lost(attempt: int) -> None:
        if attempt == 0:
            raise WorkersLost("a collective was given up")

    launcher = Rehearsal(lost)
    monkeypatch.setattr(launch, "checkpoint_names", names)
    supervisor_of(launcher, tmp_path).train()
    assert (len(launcher.attempts), away) == (2, [])


def test_a_truncated_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for epochs in (1, 2):
        write_epoch(str(tmp_path), epochs)
    assert str(last_checkpoint(str(tmp_path))) == "epoch-0002.npz"
    newest = tmp_path / "checkpoints" / "epoch-0002.npz"
    newest.write_bytes(newest.read_bytes()[:-500])
    with caplog.at_level(logging.WARNING):
        assert str(last_checkpoint(str(tmp_path))) == "epoch-0001.npz"
    assert "epoch-0002.npz is no whole checkpoint" in caplog.text


def test_a_training_without_a_whole_checkpoint_starts_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else its history would tell of epochs that the model has not taken."""
    write_epoch(str(tmp_path), 1)
    RunFolder(str(tmp_path)).write_history([{"epoch": 1.0}])
    (tmp_path / "checkpoints" / "epoch-0001.npz").write_bytes(b"damaged")
    launcher = Rehearsal(nothing)
    supervisor_of(launcher, tmp_path).train()
    assert launcher.attempts[0].resume == ""
    assert "no whole checkpoint is left, so the training starts anew" in caplog.text
    assert RunFolder(str(tmp_path)).read_history() == []


def test_a_checkpoint_of_another_version_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("skinclf.training.checkpoints.FORMAT", 2)
        write_epoch(str(tmp_path), 1)
    supervisor = supervisor_of(Rehearsal(nothing), tmp_path)
    with pytest.raises(RunError, match=r"epoch-0001\.npz is a checkpoint of format 2.*Train anew"):
        supervisor.train()


def test_what_a_killed_writer_left_is_cleared_by_the_next_attempt(tmp_path: Path) -> None:
    left = [tmp_path / name for name in ("model.keras", "checkpoints/epoch-0001-a.npz")]
    left = [path.with_name(f"{path.name}.tmp-{'0' * 32}") for path in left]
    kept = [tmp_path / "notes.tmp-old", tmp_path / "checkpoints" / "epoch-0001.npz.tmp-12"]
    kept += [tmp_path / f"owner.json.tmp-{'1' * 32}"]  # our own: it is renewed all the time
    for path in (*left, *kept):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    supervisor_of(Rehearsal(nothing), tmp_path).train()
    assert [path.exists() for path in (*left, *kept)] == [False] * 2 + [True] * 3


def test_a_cancelled_training_is_not_started_again(tmp_path: Path) -> None:
    def cancelled(_attempt: int) -> None:
        supervisor.cancel()
        raise WorkersLost("the job group was cancelled")

    launcher = Rehearsal(cancelled)
    supervisor = supervisor_of(launcher, tmp_path)
    with pytest.raises(TrainingError, match="cancelled"):
        supervisor.train()
    assert len(launcher.attempts) == 1


def test_an_attempt_that_the_watchdog_stops_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not cancelled: the launcher's own pauses would be none from then on."""
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.0)

    def hung(attempt: int) -> None:
        if attempt == 0:
            launcher.stopped.wait()
            raise WorkersLost("the job group was cancelled")

    two = TrainConfig(slots=2, local_mode=False, global_batch_size=32)
    launcher = Rehearsal(hung)

    def cause(*_: object) -> str:
        return "no step" if len(launcher.attempts) < 2 else ""

    monkeypatch.setattr(Watchdog, "cause", cause)
    supervisor_of(launcher, tmp_path, two).train()
    assert len(launcher.attempts) == 2
    assert not launcher.cancelled.is_set()


def test_a_watchdog_that_can_t_read_heartbeats_ends_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(launch, "read_heartbeat", stale)
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(launch, "LONG_PAUSES", ())

    def unwatched(_attempt: int) -> None:
        launcher.cancelled.wait()
        raise WorkersLost("the job group was cancelled")

    two = TrainConfig(slots=2, local_mode=False, global_batch_size=32)
    launcher = Rehearsal(unwatched)
    with pytest.raises(StorageUnavailable, match="Stale file handle"):
        supervisor_of(launcher, tmp_path, two).train()
    assert len(launcher.attempts) == 1


def test_two_trainings_have_job_groups_of_their_own() -> None:
    """An application may hold both: to cancel one leaves the other alone."""
    groups: list[str] = []
    spark: Any = SimpleNamespace(sparkContext=SimpleNamespace(cancelJobGroup=groups.append))
    for _ in range(2):
        SparkLauncher(spark, FaultToleranceConfig()).cancel()
    assert len(set(groups)) == 2


class NoRunner:
    """In place of MirroredStrategyRunner, which would begin a Spark session."""

    found: Exception

    def __init__(self, **_: object) -> None:
        pass

    def run(self, *_: object, **__: object) -> None:
        raise self.found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (OSError(errno.EIO, "input/output error"), WorkersLost),
        (OSError(errno.EMFILE, "too many open files"), WorkersLost),
        (pa.ArrowMemoryError("out of memory"), WorkersLost),
        (DatasetError("train-00001.parquet: can't be read"), TrainingError),
    ],
)
def test_what_ends_a_training_in_the_driver_is_what_it_would_be_of_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Exception, expected: type[Exception]
) -> None:
    monkeypatch.setattr(NoRunner, "found", found, raising=False)
    monkeypatch.setattr("skinclf.distributed.launcher.MirroredStrategyRunner", NoRunner)
    job = TrainingJob(dataset_of([], 1, ""), RunFolder(str(tmp_path)), ModelConfig(), TrainConfig())
    spark: Any = None
    with pytest.raises(expected) as caught:
        SparkLauncher(spark, FaultToleranceConfig()).launch(job)
    assert caught.type is expected
