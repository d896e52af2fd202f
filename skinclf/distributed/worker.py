"""What a worker's process does: TensorFlow, a port, a heartbeat, and the training."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Unpack

from pyspark import BarrierTaskContext

from skinclf.distributed.heartbeat import HeartbeatThread
from skinclf.errors import StorageError
from skinclf.storage.attempt import State, write_error
from skinclf.system.ports import listening_socket
from skinclf.training import import_tensorflow
from skinclf.training.job import TrainingJob, WorkerContext


def train_here(job: TrainingJob, check: Callable[[], None]) -> None:
    """Train in this process, which listens on no port; `check` raises an error to end it."""
    with HeartbeatThread(job.run.path, job.attempt, 0) as heart:
        heart.report("importing TensorFlow")
        import_tensorflow(alone=False)  # a thread of the driver's may be in MLflow's client
        from skinclf.training.loop import train

        def report(doing: str, **state: Unpack[State]) -> None:
            check()
            heart.report(doing, **state)

        train(job, WorkerContext(threads=job.config.threads_per_slot), report)


def train_in_task(job: TrainingJob, ports: str) -> None:
    """Train as one of the barrier stage's tasks; all of them return together.

    TensorFlow is imported before the ports are picked: the import takes many seconds, in which
    another process could take a port that was free.
    """
    task = BarrierTaskContext.get()
    rank = task.partitionId()
    with _error_reported(job, rank), HeartbeatThread(job.run.path, job.attempt, rank) as heart:
        heart.report("importing TensorFlow")
        import_tensorflow()
        from skinclf.training.loop import train

        heart.report("waiting for the other workers")
        host = task.getTaskInfos()[rank].address.rpartition(":")[0]
        # Held until all have chosen: another worker of this host can't draw the same port.
        with closing(listening_socket(ports)) as held:
            addresses = task.allGather(f"{host}:{held.getsockname()[1]}")
        threads = job.config.threads_per_slot or task.cpus()
        train(job, WorkerContext(rank, tuple(addresses), threads), heart.report)
        heart.report("waiting for the other workers to finish")
        # The first worker hosts TensorFlow's coordination: it must not leave early.
        task.barrier()


@contextmanager
def _error_reported(job: TrainingJob, rank: int) -> Iterator[None]:
    """Report the error that ends the worker inside to the driver, as data."""
    try:
        yield
    except Exception as error:
        with suppress(OSError, StorageError):  # the error itself says more
            write_error(job.run.path, job.attempt, rank, error)
        raise
