"""The bridge between Spark and the training: MirroredStrategyRunner, watched and restarted."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError
from pyspark import BarrierTaskContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from spark_tensorflow_distributor import MirroredStrategyRunner

from skinclf import run_folder
from skinclf.config import ModelConfig, SuperviseConfig, TrainConfig
from skinclf.dataset_folder import Dataset
from skinclf.errors import TrainingError, WorkersLost
from skinclf.learn import import_tensorflow
from skinclf.learn.heartbeat import Heartbeat
from skinclf.ports import free_port
from skinclf.tables.failures import own_error, root_cause
from skinclf.tables.slots import wait_for_slots
from skinclf.watching import watching

if TYPE_CHECKING:  # it imports TensorFlow
    from skinclf.learn.cluster import Place

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

JOB_GROUP = "skinclf train"
POLL_SECONDS = 1.0

log = logging.getLogger(__name__)


def train_until_done(
    spark: SparkSession,
    dataset: Dataset,
    run: str,
    model: ModelConfig,
    config: TrainConfig,
    supervise: SuperviseConfig,
) -> None:
    """Train, and start again from the last checkpoint where workers were lost or hung.

    Returns when model.keras is in the run folder. Raises TrainingError with the cause at once
    where the training itself is at fault, and after `max_restarts` where its surroundings are.
    """
    restarts = 0
    while True:
        if not config.local_mode:
            wait_for_slots(spark, config.slots, supervise.slots_seconds)
        name = f"{socket.gethostname()}-{os.getpid()}-{restarts}"
        run_folder.begin_attempt(run, name)
        resume = _last_checkpoint(run)
        if resume:
            log.info("going on from checkpoint %s", resume)
        attempt = Attempt(dataset, run, model, config, supervise.ports, name, resume)
        try:
            with _guard(spark, run, config, supervise) as stopped:
                _launch(spark, attempt)
            return
        except WorkersLost as lost:
            cause = stopped[0] if stopped else str(lost)
            if restarts == supervise.max_restarts:
                raise TrainingError(
                    f"training broke off {restarts + 1} times, the last time by: {cause}. "
                    f"The same command goes on from the last checkpoint of {run}"
                ) from lost
            restarts += 1
            run_folder.add_restart(run, cause, _last_checkpoint(run))
            log.warning(
                "workers lost (%s); restart %s of %s", cause, restarts, supervise.max_restarts
            )


def _last_checkpoint(run: str) -> str:
    names = run_folder.checkpoint_names(run)
    return names[-1] if names else ""


@dataclass(frozen=True)
class Attempt:
    """What each worker of one attempt to train is told."""

    dataset: Dataset
    run: str
    model: ModelConfig
    config: TrainConfig
    ports: str
    name: str  # that alone may write to the run now
    resume: str  # the checkpoint to go on from, "" for none

    def train(self, place: "Place", heart: Heartbeat) -> None:
        """Take part as one worker; TensorFlow has to be imported."""
        from skinclf.learn.training import Job, train

        job = Job(self.dataset, self.run, self.model, self.config, place, self.name, heart.tell)
        train(job, self.resume)


def _launch(spark: SparkSession, attempt: Attempt) -> None:
    """Train in this process (`local_mode`), or in one barrier task a slot.

    Raises WorkersLost where Spark ended it and no SkinclfError of ours did.
    """
    logging.getLogger(MirroredStrategyRunner.__name__).addFilter(_is_error)
    runner = MirroredStrategyRunner(
        num_slots=attempt.config.slots,
        local_mode=attempt.config.local_mode,
        use_gpu=False,
        use_custom_strategy=True,
    )
    spark.sparkContext.setJobGroup(JOB_GROUP, f"train {attempt.run}", interruptOnCancel=True)
    task = _train_here if attempt.config.local_mode else _train_in_task
    try:
        runner.run(task, attempt=attempt)
    except (Py4JError, PySparkException) as error:
        kind, cause = _cause(str(error))
        raise kind(cause) from error


@contextmanager
def _guard(
    spark: SparkSession, run: str, config: TrainConfig, supervise: SuperviseConfig
) -> Iterator[list[str]]:
    """Cancel the attempt inside when a worker falls silent or the steps stand still.

    Yields the cause, once there is one. A silent worker is one whose process or machine is
    stopped; where all tell but no step is taken, some worker hangs.
    """
    stopped: list[str] = []
    if config.local_mode:  # no worker to wait for, and no task to cancel
        yield stopped
        return

    def watch(done: threading.Event) -> None:
        patience = Patience(supervise)
        while not done.wait(POLL_SECONDS):
            beats = [run_folder.read_beat(run, worker) for worker in range(config.slots)]
            cause = patience.lost_with(beats, time.monotonic())
            if cause:
                stopped.append(cause)
                spark.sparkContext.cancelJobGroup(JOB_GROUP)
                return

    with watching(watch):
        yield stopped


class Patience:
    """When each worker was last heard of and the last step was seen, by the driver's own clock."""

    def __init__(self, supervise: SuperviseConfig) -> None:
        self._limits = supervise
        self._heard: dict[int, tuple[int, float]] = {}
        self._step: tuple[tuple[int, int] | None, float] = (None, time.monotonic())

    def lost_with(self, beats: list[run_folder.Beat], now: float) -> str:
        """Take in what the workers told last; the cause to give up, or ""."""
        for beat in filter(None, beats):
            if self._heard.get(beat["worker"], (-1, now))[0] != beat["count"]:
                self._heard[beat["worker"]] = (beat["count"], now)
            silence = now - self._heard[beat["worker"]][1]
            if silence > self._limits.silence_seconds:
                return f"{_who(beat)} told nothing for {silence:.0f} s, last: {beat['doing']}"
        chief = beats[0]
        step = (chief["epoch"], chief["step"]) if "step" in chief else None
        if step != self._step[0]:
            self._step = (step, now)
        limit = self._limits.stall_seconds if step else self._limits.start_seconds
        if now - self._step[1] > limit:
            doing = "; ".join(f"{_who(beat)}: {beat['doing']}" for beat in filter(None, beats))
            return f"no step for {limit} s ({doing or 'no worker has started'})"
        return ""


def _who(beat: run_folder.Beat) -> str:
    return f"worker {beat['worker']} ({beat['host']}, process {beat['pid']})"


def _train_here(attempt: Attempt) -> None:
    """Train in this process, which listens on no port."""
    with Heartbeat(attempt.run, 0) as heart:
        heart.tell("importing TensorFlow")
        import_tensorflow()
        from skinclf.learn.cluster import Place

        attempt.train(Place(threads=attempt.config.threads_per_slot), heart)


def _train_in_task(attempt: Attempt) -> None:
    """Train as one of the barrier stage's tasks; all of them return together.

    TensorFlow is imported before the ports are picked: the import takes many seconds, in which
    another process could take a port that was free.
    """
    task = BarrierTaskContext.get()
    with Heartbeat(attempt.run, task.partitionId()) as heart:
        heart.tell("importing TensorFlow")
        import_tensorflow()
        from skinclf.learn.cluster import Place

        heart.tell("waiting for the other workers")
        host = task.getTaskInfos()[task.partitionId()].address.rpartition(":")[0]
        addresses = task.allGather(f"{host}:{free_port(attempt.ports)}")
        threads = attempt.config.threads_per_slot or task.cpus()
        attempt.train(Place(task.partitionId(), tuple(addresses), threads), heart)
        heart.tell("waiting for the other workers to finish")
        # The first worker hosts TensorFlow's coordination: it must not leave early.
        task.barrier()


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _cause(message: str) -> tuple[type[TrainingError], str]:
    """Why Spark's job failed, out of its account of the failed stage, and whether to try again.

    An error of ours, raised in a worker, is final. Anything else (a process that is gone, a
    collective that was given up) is the surroundings' fault.
    """
    ours = own_error(message)
    return (TrainingError, ours) if ours else (WorkersLost, root_cause(message))
