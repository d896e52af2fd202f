"""The bridge between Spark and the training: MirroredStrategyRunner, watched and restarted."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from py4j.protocol import Py4JError
from pyspark import BarrierTaskContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from spark_tensorflow_distributor import MirroredStrategyRunner

from skinclf.config.schema import Config, ModelConfig, TrainConfig
from skinclf.distributed.heartbeat import Heartbeat
from skinclf.distributed.watchdog import Watchdog
from skinclf.errors import (
    DamagedCheckpoint,
    RunError,
    StorageError,
    TrainingError,
    WorkersLost,
)
from skinclf.spark.failures import root_cause
from skinclf.spark.slots import wait_for_slots
from skinclf.storage import run_folder
from skinclf.storage.attempt import WorkerError, begin_attempt, read_beat, read_errors, write_error
from skinclf.storage.checkpoint_folder import (
    CHECKPOINTS,
    CheckpointName,
    checkpoint_bytes,
    checkpoint_names,
)
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import clear_temporaries, join
from skinclf.system.background import watching
from skinclf.system.ports import free_port
from skinclf.system.retrying import LONG_PAUSES, retried
from skinclf.training import import_tensorflow
from skinclf.training.checkpoints import read_checkpoint

if TYPE_CHECKING:  # it imports TensorFlow
    from skinclf.training.strategy import Place

REQUIRED_CONF = {
    # A Python worker that trained once has peers that are gone: never use it again.
    "spark.python.worker.reuse": "false",
    # The barrier stage takes all slots at once; executors that come and go would break it.
    "spark.dynamicAllocation.enabled": "false",
    # A second copy of a training task has no place among the workers.
    "spark.speculation": "false",
    # A training task that was cancelled must end, whatever it hangs in: it holds a slot.
    "spark.task.reaper.enabled": "true",
}

POLL_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """What each worker of one attempt to train is told."""

    dataset: Dataset
    run: str
    model: ModelConfig
    config: TrainConfig
    ports: str
    name: str  # that alone may write to the run now
    resume: str  # the checkpoint to resume from, "" for none

    def train(self, place: "Place", report: Callable[..., None]) -> None:
        """Take part as one worker; TensorFlow has to be imported."""
        from skinclf.training.loop import Job, train

        job = Job(self.dataset, self.run, self.model, self.config, place, self.name, report)
        train(job, self.resume)


class Supervisor:
    """Trains, and starts again from the last checkpoint where workers were lost or hung."""

    def __init__(self, spark: SparkSession, dataset: Dataset, run: str, config: Config) -> None:
        self._spark, self._dataset, self._run, self._config = spark, dataset, run, config
        # Of this training alone: an application may hold two, and cancel one of them.
        self._group = f"skinclf train {uuid4().hex}"
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Have `train` end by an error; any thread may call this, more than once."""
        self._cancelled.set()
        self._cancel_job()

    def train(self) -> None:
        """Return when model.keras is in the run folder.

        Raises TrainingError with the cause at once where the training itself is at fault, and
        where its surroundings are, after `max_restarts` from one checkpoint. Raises RunError
        for checkpoints of another version of skinclf.
        """
        restarts, resume = 0, last_checkpoint(self._run)
        while True:
            attempt = self._begin(resume)
            try:
                with self._watched(attempt) as stopped:
                    self._launch(attempt)
                return
            except WorkersLost as lost:
                self._check_cancelled()
                cause = stopped[0] if stopped else str(lost)
                reached = last_checkpoint(self._run)
                restarts = 1 if _is_newer(reached, resume) else restarts + 1
                self._note_restart(restarts, cause, reached)
                resume = reached

    def _begin(self, resume: CheckpointName | None) -> Attempt:
        train, supervise = self._config.train, self._config.supervise
        if not train.local_mode:
            wait_for_slots(self._spark, train.slots, supervise.slots_seconds, self._wait)
        name = uuid4().hex
        begin_attempt(self._run, name)
        for folder in (self._run, join(self._run, CHECKPOINTS)):
            clear_temporaries(folder)
        if resume:
            log.info("going on from checkpoint %s", resume)
        checkpoint = str(resume or "")
        model = self._config.model
        return Attempt(self._dataset, self._run, model, train, supervise.ports, name, checkpoint)

    def _launch(self, attempt: Attempt) -> None:
        """Train in this process (`local_mode`), or in one barrier task a slot.

        Raises WorkersLost where Spark ended it, and no worker reports an error of its own that
        another attempt would meet again.
        """
        logging.getLogger(MirroredStrategyRunner.__name__).addFilter(_is_error)
        config = attempt.config
        runner = MirroredStrategyRunner(
            num_slots=config.slots,
            local_mode=config.local_mode,
            use_gpu=False,
            use_custom_strategy=True,
        )
        if config.local_mode:
            runner.run(_train_here, attempt=attempt, check=self._check_cancelled)
            return
        context = self._spark.sparkContext
        context.setJobGroup(self._group, f"train {attempt.run}", interruptOnCancel=True)
        try:
            runner.run(_train_in_task, attempt=attempt)
        except (Py4JError, PySparkException) as error:
            reported = read_errors(attempt.run, attempt.name, config.slots)
            raise lost_by(reported, str(error)) from error

    @contextmanager
    def _watched(self, attempt: Attempt) -> Iterator[list[str]]:
        """Cancel the attempt inside where the watchdog finds a cause; yields it, once known."""
        stopped: list[str] = []
        config = attempt.config
        if config.local_mode:  # no worker to wait for, and no task to cancel
            yield stopped
            return

        def watch(done: threading.Event) -> None:
            watchdog = Watchdog(self._config.supervise, time.monotonic())
            while not done.wait(POLL_SECONDS):
                beats = [
                    retried(
                        partial(read_beat, attempt.run, attempt.name, worker),
                        attempt.run,
                        done.wait,
                        LONG_PAUSES,
                    )
                    for worker in range(config.slots)
                ]
                cause = watchdog.cause(beats, time.monotonic())
                if cause:
                    stopped.append(cause)
                    self._cancel_job()
                    return

        with watching(watch, self.cancel):
            yield stopped

    def _note_restart(self, restarts: int, cause: str, reached: CheckpointName | None) -> None:
        """Raise TrainingError where the last checkpoint has had all its restarts."""
        allowed = self._config.supervise.max_restarts
        if restarts > allowed:
            raise TrainingError(
                f"training was interrupted {restarts} times without a new checkpoint "
                f"(supervise.max_restarts = {allowed}), the last time by: {cause}. Rerun the same "
                f"command to resume from {reached or 'the start'} of {self._run}"
            )
        run_folder.add_restart(self._run, cause, str(reached or ""))
        log.warning("workers lost (%s); restart %s of %s", cause, restarts, allowed)

    def _cancel_job(self) -> None:
        self._spark.sparkContext.cancelJobGroup(self._group)

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
            log.warning("%s %s; going on from the one before", name, error)
        except RunError as error:
            raise RunError(f"{run}: {name} is {error}") from None
        else:
            return name
    return None


def lost_by(reported: list[WorkerError], message: str) -> TrainingError:
    """The error of an attempt that Spark ended, by its workers' reports and Spark's `message`.

    What a worker reports as final is. Anything else (a process that is gone and reports nothing,
    a collective that was given up) is the surroundings' fault.
    """
    for error in reported:
        if not error.retryable:
            return TrainingError(f"{error.name}: {error.message}")
    return WorkersLost(root_cause(message))


def _is_newer(reached: CheckpointName | None, before: CheckpointName | None) -> bool:
    return reached is not None and (before is None or reached.place > before.place)


def _train_here(attempt: Attempt, check: Callable[[], None]) -> None:
    """Train in this process, which listens on no port; `check` raises an error to end it."""
    with Heartbeat(attempt.run, attempt.name, 0) as heart:
        heart.tell("importing TensorFlow")
        import_tensorflow()
        from skinclf.training.strategy import Place

        def report(doing: str, **state: object) -> None:
            check()
            heart.tell(doing, **state)

        attempt.train(Place(threads=attempt.config.threads_per_slot), report)


def _train_in_task(attempt: Attempt) -> None:
    """Train as one of the barrier stage's tasks; all of them return together.

    TensorFlow is imported before the ports are picked: the import takes many seconds, in which
    another process could take a port that was free.
    """
    task = BarrierTaskContext.get()
    worker = task.partitionId()
    with _error_reported(attempt, worker), Heartbeat(attempt.run, attempt.name, worker) as heart:
        heart.tell("importing TensorFlow")
        import_tensorflow()
        from skinclf.training.strategy import Place

        heart.tell("waiting for the other workers")
        host = task.getTaskInfos()[worker].address.rpartition(":")[0]
        addresses = task.allGather(f"{host}:{free_port(attempt.ports)}")
        threads = attempt.config.threads_per_slot or task.cpus()
        attempt.train(Place(worker, tuple(addresses), threads), heart.tell)
        heart.tell("waiting for the other workers to finish")
        # The first worker hosts TensorFlow's coordination: it must not leave early.
        task.barrier()


@contextmanager
def _error_reported(attempt: Attempt, worker: int) -> Iterator[None]:
    """Report the error that ends the worker inside to the driver, as data."""
    try:
        yield
    except Exception as error:
        with suppress(OSError, StorageError):  # the error itself tells more
            write_error(attempt.run, attempt.name, worker, error)
        raise


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
