"""Training that survives: watched, and started again from the last checkpoint."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar
from uuid import uuid4

from skinclf.config.schema import FaultToleranceConfig
from skinclf.distributed.launcher import Launcher
from skinclf.distributed.watchdog import Watchdog
from skinclf.errors import DamagedCheckpoint, RunError, TrainingError, WorkersLost
from skinclf.storage.attempt import begin_attempt, read_heartbeat
from skinclf.storage.checkpoint_folder import (
    CHECKPOINTS,
    CheckpointName,
    checkpoint_bytes,
    checkpoint_names,
)
from skinclf.storage.files import clear_temporaries, join
from skinclf.storage.ownership import RECORD
from skinclf.system.background import watching
from skinclf.system.retrying import LONG_PAUSES, retried
from skinclf.training.checkpoints import read_checkpoint
from skinclf.training.job import TrainingJob

POLL_SECONDS = 1.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class Supervisor:
    """Trains `job`, and starts again from the last checkpoint where workers were lost or hung."""

    def __init__(self, launcher: Launcher, job: TrainingJob, limits: FaultToleranceConfig) -> None:
        self._launcher, self._job, self._limits = launcher, job, limits
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Have `train` end by an error; any thread may call this, more than once."""
        self._cancelled.set()
        self._launcher.cancel()

    def train(self) -> None:
        """Return when model.keras is in the run folder.

        Raises TrainingError with the cause at once where the training itself is at fault, and
        WorkersLost where its surroundings are, after `max_restarts` from one checkpoint. Raises
        SlotsUnavailable, and RunError for checkpoints of another version of skinclf.
        """
        restarts, resume = 0, self._tried(partial(last_checkpoint, self._job.run.path))
        while True:
            self._launcher.wait_for_slots(self._job.config, self._wait)
            attempt = self._tried(partial(self._begin, resume))
            try:
                with self._watched(attempt) as stopped:
                    self._launcher.launch(attempt)
                return
            except WorkersLost as lost:
                self._check_cancelled()
                if self._job.run.is_finished:  # a worker was lost after the model was written
                    return
                cause = stopped[0] if stopped else str(lost)
                reached = self._tried(partial(last_checkpoint, self._job.run.path))
                restarts = 1 if _is_newer(reached, resume) else restarts + 1
                self._note_restart(restarts, cause, reached)
                resume = reached

    def _begin(self, resume: CheckpointName | None) -> TrainingJob:
        run = self._job.run.path
        attempt = replace(self._job, attempt=uuid4().hex, resume=str(resume or ""))
        begin_attempt(run, attempt.attempt)
        for folder in (run, join(run, CHECKPOINTS)):
            clear_temporaries(folder, but=RECORD)  # a thread of ours renews it
        if resume:
            log.info("resuming from checkpoint %s", resume)
        elif self._job.run.read_history():
            log.warning("%s: no whole checkpoint is left, so the training starts anew", run)
            self._job.run.write_history([])
        return attempt

    @contextmanager
    def _watched(self, attempt: TrainingJob) -> Iterator[list[str]]:
        """Stop the attempt inside where the watchdog finds a cause; yields it, once known."""
        stopped: list[str] = []
        if attempt.config.local_mode:  # no worker to wait for, and no task to cancel
            yield stopped
            return

        def watch(done: threading.Event) -> None:
            watchdog = Watchdog(self._limits, time.monotonic())
            while not done.wait(POLL_SECONDS):
                heartbeats = [
                    retried(
                        partial(read_heartbeat, attempt.run.path, attempt.attempt, worker),
                        attempt.run.path,
                        done.wait,
                        LONG_PAUSES,
                    )
                    for worker in range(attempt.config.slots)
                ]
                cause = watchdog.cause(heartbeats, time.monotonic())
                if cause:
                    stopped.append(cause)
                    self._launcher.stop()
                    return

        with watching(watch, self.cancel):
            yield stopped

    def _note_restart(self, restarts: int, cause: str, reached: CheckpointName | None) -> None:
        """Raise WorkersLost where the last checkpoint has had all its restarts."""
        run, allowed = self._job.run, self._limits.max_restarts
        if restarts > allowed:
            raise WorkersLost(
                f"training was interrupted {restarts} times without a new checkpoint "
                f"(fault_tolerance.max_restarts = {allowed}), the last time by: {cause}. Rerun the "
                f"same command to resume from {reached or 'the start'} of {run}"
            )
        self._tried(partial(run.add_restart, cause, str(reached or "")))
        log.warning("workers lost (%s); restart %s of %s", cause, restarts, allowed)

    def _tried(self, do: Callable[[], T]) -> T:
        """What `do` gives, which is tried again while the run's storage fails: what made workers
        fail may last for some more moments.
        """
        return retried(do, self._job.run.path, self._wait, LONG_PAUSES)

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise TrainingError("the training was cancelled")

    def _wait(self, seconds: float) -> None:
        self._cancelled.wait(seconds)
        self._check_cancelled()


def last_checkpoint(run: str) -> CheckpointName | None:
    """The newest checkpoint that is whole; None where there is none.

    Damaged ones are passed over with a warning. Raises RunError for one that another version of
    skinclf wrote.
    """
    for name in reversed(checkpoint_names(run)):
        try:
            read_checkpoint(checkpoint_bytes(run, name))
        except DamagedCheckpoint as error:
            log.warning("%s %s; it is passed over", name, error)
        except RunError as error:
            raise RunError(f"{run}: {name} is {error}") from None
        else:
            return name
    return None


def _is_newer(reached: CheckpointName | None, before: CheckpointName | None) -> bool:
    return reached is not None and (before is None or reached.place > before.place)
