"""One attempt to train on Spark: MirroredStrategyRunner, and what it needs of the cluster."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol
from uuid import uuid4

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from spark_tensorflow_distributor import MirroredStrategyRunner

from skinclf.config.schema import FaultToleranceConfig, TrainConfig
from skinclf.distributed.worker import train_here, train_in_task
from skinclf.errors import TrainingError, UsageError, WorkersLost
from skinclf.spark.failures import root_cause
from skinclf.spark.job_groups import job_group
from skinclf.spark.slots import wait_for_slots
from skinclf.storage.attempt import WorkerError, read_errors, worker_error
from skinclf.system.retrying import LONG_PAUSES, OF_A_SHARE, SCARCE, retried
from skinclf.training.job import TrainingJob

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


class Launcher(Protocol):
    """Where attempts to train run."""

    def wait_for_slots(self, config: TrainConfig, wait: Callable[[float], object]) -> None:
        """Return when there is room for all workers; `wait` is called between looks."""

    def launch(self, job: TrainingJob) -> None:
        """Run one attempt to its end. Raises WorkersLost where another one may help."""

    def stop(self) -> None:
        """Have the attempt of `launch` end by an error; another one may follow."""

    def cancel(self) -> None:
        """Have `launch` end by an error; any thread may call this, more than once."""


class SparkLauncher:
    """Attempts in the driver's process (`local_mode`), or in one barrier task a worker."""

    def __init__(self, spark: SparkSession, limits: FaultToleranceConfig) -> None:
        self._spark, self._limits = spark, limits
        # Of this training alone: an application may hold two, and cancel one of them.
        self.group = f"skinclf train {uuid4().hex}"
        self._cancelled = threading.Event()

    def wait_for_slots(self, config: TrainConfig, wait: Callable[[float], object]) -> None:
        """Raises SlotsUnavailable after `fault_tolerance.slot_wait_timeout_seconds`."""
        if not config.local_mode:
            wait_for_slots(self._spark, config.slots, self._limits.slot_wait_timeout_seconds, wait)

    def launch(self, job: TrainingJob) -> None:
        """Raises WorkersLost where Spark ended it, and no worker reports an error of its own that
        another attempt would meet again.
        """
        logging.getLogger(MirroredStrategyRunner.__name__).addFilter(_is_error)
        config = job.config
        runner = MirroredStrategyRunner(
            num_slots=config.slots,
            local_mode=config.local_mode,
            use_gpu=False,
            use_custom_strategy=True,
        )
        if config.local_mode:
            with _as_of_a_worker():
                runner.run(train_here, job=job, check=self._check_cancelled)
            return
        context = self._spark.sparkContext
        try:
            with job_group(context, self.group, f"train {job.run}", interrupts=True):
                runner.run(train_in_task, job=job, ports=self._limits.ports)
        except (Py4JError, PySparkException) as error:
            reported = retried(
                partial(read_errors, job.run.path, job.attempt, config.slots),
                job.run.path,
                self._cancelled.wait,
                LONG_PAUSES,
            )
            raise lost_by(reported, str(error)) from error

    def stop(self) -> None:
        """Ends the tasks; in local mode there are none."""
        self._spark.sparkContext.cancelJobGroup(self.group)

    def cancel(self) -> None:
        """Ends the tasks; in local mode, the training at its next report."""
        self._cancelled.set()
        self.stop()

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise TrainingError("the training was cancelled")


@contextmanager
def _as_of_a_worker() -> Iterator[None]:
    """Raise what ends a training in the driver as what it would be of a task: a share that is away,
    or memory that is short, for a moment is no end, and what is wrong with the dataset only now is
    no wrong use.
    """
    try:
        yield
    except UsageError as error:
        raise lost_by([worker_error(error)], str(error)) from error
    except (OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno not in (*OF_A_SHARE, *SCARCE):
            raise
        raise WorkersLost(f"{type(error).__name__}: {error}") from error


def lost_by(reported: list[WorkerError], message: str) -> TrainingError:
    """The error of an attempt that Spark ended, by its workers' reports and Spark's `message`.

    What a worker reports as final is. Anything else (a process that is gone and reports nothing,
    a collective that was given up) is the surroundings' fault.
    """
    for error in reported:
        if not error.retryable:
            return TrainingError(f"{error.name}: {error.message}")
    return WorkersLost(root_cause(message))


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
