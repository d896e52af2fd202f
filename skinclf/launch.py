"""The bridge between Spark and the training: MirroredStrategyRunner, in both of its modes."""

import logging
import socket
from contextlib import closing

from py4j.protocol import Py4JError
from pyspark import BarrierTaskContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from spark_tensorflow_distributor import MirroredStrategyRunner

from skinclf.config import TrainConfig
from skinclf.dataset_folder import Dataset
from skinclf.errors import TrainingError
from skinclf.learn import import_tensorflow

REQUIRED_CONF = {
    # A Python worker that trained once has peers that are gone: never use it again.
    "spark.python.worker.reuse": "false",
    # The barrier stage takes all slots at once; executors that come and go would break it.
    "spark.dynamicAllocation.enabled": "false",
    # A second copy of a training task has no place among the workers.
    "spark.speculation": "false",
}


def launch_training(spark: SparkSession, dataset: Dataset, run: str, config: TrainConfig) -> None:
    """Train through MirroredStrategyRunner and return when model.keras is in the run folder.

    `local_mode`: one slot in this process; otherwise one barrier task a slot. Raises
    TrainingError with the workers' own cause.
    """
    logging.getLogger(MirroredStrategyRunner.__name__).addFilter(_is_error)
    runner = MirroredStrategyRunner(
        num_slots=config.slots,
        local_mode=config.local_mode,
        use_gpu=False,
        use_custom_strategy=True,
    )
    try:
        runner.run(
            _train_here if config.local_mode else _train_in_task,
            dataset=dataset,
            run=run,
            config=config,
        )
    except (Py4JError, PySparkException) as error:
        raise TrainingError(f"training in Spark tasks failed: {_cause(str(error))}") from error


def _train_here(dataset: Dataset, run: str, config: TrainConfig) -> None:
    import_tensorflow()
    from skinclf.learn.cluster import Place
    from skinclf.learn.training import train

    train(dataset, run, config, Place(threads=config.threads_per_slot))


def _train_in_task(dataset: Dataset, run: str, config: TrainConfig) -> None:
    """Train as one of the barrier stage's tasks; all of them return together.

    TensorFlow is imported before the ports are picked: the import takes many seconds, in which
    another process could take a port that was free.
    """
    import_tensorflow()
    from skinclf.learn.cluster import Place
    from skinclf.learn.training import train

    task = BarrierTaskContext.get()
    host = task.getTaskInfos()[task.partitionId()].address.rpartition(":")[0]
    addresses = task.allGather(f"{host}:{_free_port()}")
    threads = config.threads_per_slot or task.cpus()
    train(dataset, run, config, Place(task.partitionId(), tuple(addresses), threads))
    task.barrier()  # the first worker hosts TensorFlow's coordination: it must not leave early


def _free_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _cause(message: str) -> str:
    """The Python worker's own exception out of Spark's account of the failed stage."""
    lines = [line.strip() for line in message.splitlines()]
    errors = [line for line in lines if line.startswith("skinclf.errors.")]
    return errors[0].removeprefix("skinclf.errors.") if errors else message
