"""The bridge between Spark and the training: MirroredStrategyRunner, watched and restarted."""

import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from py4j.protocol import Py4JError
from pyspark import BarrierTaskContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from spark_tensorflow_distributor import MirroredStrategyRunner

from skinclf import run_folder
from skinclf.config import SuperviseConfig, TrainConfig
from skinclf.dataset_folder import Dataset
from skinclf.errors import TrainingError, WorkersLost
from skinclf.learn import import_tensorflow

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
    config: TrainConfig,
    supervise: SuperviseConfig,
) -> None:
    """Train, and start again from the last checkpoint where workers were lost or hung.

    Returns when model.keras is in the run folder. Raises TrainingError with the cause at once
    where the training itself is at fault, and after `max_restarts` where its surroundings are.
    """
    restarts = 0
    while True:
        resume = max(run_folder.checkpoint_epochs(run), default=0)
        if resume:
            log.info("going on after epoch %s", resume)
        try:
            with _stall_guard(spark, run, supervise) as stalled:
                _launch(spark, dataset, run, config, resume)
            return
        except WorkersLost as lost:
            cause = stalled[0] if stalled else str(lost)
            if restarts == supervise.max_restarts:
                raise TrainingError(
                    f"training broke off {restarts + 1} times, the last time by: {cause}. "
                    f"The same command goes on from the last checkpoint of {run}"
                ) from lost
            restarts += 1
            epoch = max(run_folder.checkpoint_epochs(run), default=0)
            run_folder.add_restart(run, cause, epoch)
            log.warning(
                "workers lost (%s); restart %s of %s", cause, restarts, supervise.max_restarts
            )


def _launch(
    spark: SparkSession, dataset: Dataset, run: str, config: TrainConfig, resume: int
) -> None:
    """One attempt: in this process (`local_mode`), or in one barrier task a slot.

    Raises WorkersLost where Spark ended it and no SkinclfError of ours did.
    """
    logging.getLogger(MirroredStrategyRunner.__name__).addFilter(_is_error)
    runner = MirroredStrategyRunner(
        num_slots=config.slots,
        local_mode=config.local_mode,
        use_gpu=False,
        use_custom_strategy=True,
    )
    spark.sparkContext.setJobGroup(JOB_GROUP, f"train {run}", interruptOnCancel=True)
    task = _train_here if config.local_mode else _train_in_task
    try:
        runner.run(task, dataset=dataset, run=run, config=config, resume=resume)
    except (Py4JError, PySparkException) as error:
        kind, cause = _cause(str(error))
        raise kind(cause) from error


@contextmanager
def _stall_guard(spark: SparkSession, run: str, supervise: SuperviseConfig) -> Iterator[list[str]]:
    """Cancel the attempt inside when its steps stand still; yields the cause, once there is one.

    Each step is a collective: whichever worker hangs, the chief's progress stands still too.
    """
    done = threading.Event()
    stalled: list[str] = []

    def watch() -> None:
        seen, since, limit = (
            run_folder.read_progress(run),
            time.monotonic(),
            supervise.start_seconds,
        )
        while not done.wait(POLL_SECONDS):
            now = run_folder.read_progress(run)
            if now != seen:
                seen, since, limit = now, time.monotonic(), supervise.stall_seconds
            elif time.monotonic() - since > limit:
                stalled.append(f"no step for {limit} s")
                spark.sparkContext.cancelJobGroup(JOB_GROUP)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield stalled
    finally:
        done.set()
        watcher.join()


def _train_here(dataset: Dataset, run: str, config: TrainConfig, resume: int) -> None:
    import_tensorflow()
    from skinclf.learn.cluster import Place
    from skinclf.learn.training import Job, train

    train(Job(dataset, run, config, Place(threads=config.threads_per_slot)), resume)


def _train_in_task(dataset: Dataset, run: str, config: TrainConfig, resume: int) -> None:
    """Train as one of the barrier stage's tasks; all of them return together.

    TensorFlow is imported before the ports are picked: the import takes many seconds, in which
    another process could take a port that was free.
    """
    import_tensorflow()
    from skinclf.learn.cluster import Place
    from skinclf.learn.training import Job, train

    task = BarrierTaskContext.get()
    host = task.getTaskInfos()[task.partitionId()].address.rpartition(":")[0]
    addresses = task.allGather(f"{host}:{_free_port()}")
    threads = config.threads_per_slot or task.cpus()
    place = Place(task.partitionId(), tuple(addresses), threads)
    train(Job(dataset, run, config, place), resume)
    task.barrier()  # the first worker hosts TensorFlow's coordination: it must not leave early


def _free_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _cause(message: str) -> tuple[type[TrainingError], str]:
    """Why Spark's job failed, out of its account of the failed stage, and whether to try again.

    An error of ours, raised in a worker, is final. Anything else (a process that is gone, a
    collective that was given up) is the surroundings' fault.
    """
    lines = [line.strip() for line in message.splitlines()]
    for line in lines:
        if line.startswith("skinclf.errors."):
            return TrainingError, line.removeprefix("skinclf.errors.")
    told = re.compile(
        r"ExecutorLostFailure|Python worker exited|^[\w.]+(Error|Exception): |cancelled"
    )
    skipped = ("org.apache.spark.SparkException: Job aborted", "py4j.")
    causes = [line for line in lines if told.search(line) and not line.startswith(skipped)]
    cause = (causes or lines)[0].removeprefix("org.apache.spark.SparkException: ")
    return WorkersLost, cause.partition(". Consider setting")[0]
