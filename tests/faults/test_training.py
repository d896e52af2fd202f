"""Training on a real standalone cluster of two one-core workers, some of which are killed.

What the supervisor makes of each loss is tests/distributed/test_supervisor.py's; here it is shown
that real losses reach it, and that a training ends with the weights of one without any.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.support.cluster import Cluster, below
from tests.support.pipeline import weights
from tests.support.training import EPOCHS, Training, until

pytestmark = pytest.mark.faults


def assert_whole(training: Training, uninterrupted: Path, cluster: Cluster) -> None:
    """Every epoch once, the weights of a run that nothing happened to, nothing left running."""
    assert training.epochs() == list(range(1, EPOCHS + 1))
    assert np.array_equal(weights(training.run), weights(uninterrupted))
    until(lambda: not cluster.python_workers(), training.told)


def test_a_killed_training_process_then_executor_then_spark_worker_then_driver(
    prepared: Path, cluster: Cluster, uninterrupted: Path, tmp_path: Path
) -> None:
    """One training loses them in turn, and resumes from its last checkpoint each time."""
    training = Training(prepared, tmp_path / "run", cluster.master)
    training.wait_for_epochs(3)
    os.kill(cluster.python_workers()[-1], signal.SIGKILL)
    training.wait_for_restart(1)

    os.kill(cluster.executors()[0], signal.SIGKILL)
    training.wait_for_restart(2)

    cluster.workers[-1].kill()
    training.wait_until(lambda: "waiting for 2 slots; the cluster has 1 now" in training.told())
    cluster.add_worker()  # as its service manager does
    training.wait_for_restart(3)

    for pid in [*below(training.process.pid, "java"), training.process.pid]:
        os.kill(pid, signal.SIGKILL)
    training.process.wait()
    assert len(training.epochs()) < EPOCHS
    until(lambda: not cluster.python_workers(), training.told)
    training.start()  # the same command again
    assert training.finish() == 0, training.told()
    assert "resuming from checkpoint" in training.told()

    assert len(training.restarts()) == 3
    assert all(restart["cause"] for restart in training.restarts())
    assert_whole(training, uninterrupted, cluster)


def test_training_processes_that_all_stand_still(
    prepared: Path, cluster: Cluster, uninterrupted: Path, tmp_path: Path
) -> None:
    """Of one alone TensorFlow tells the others, sooner or later; of all only the watchdog can.

    The limit is far above what a loaded machine takes from one heartbeat to the next.
    """
    settings = "fault_tolerance.heartbeat_timeout_seconds=20"
    training = Training(prepared, tmp_path / "run", cluster.master, settings)
    training.wait_for_epochs(3)
    stopped = cluster.python_workers()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    assert training.finish() == 0, training.told()
    (restart,) = training.restarts()
    assert any(f"process {pid}) sent no heartbeat for" in restart["cause"] for pid in stopped)
    assert_whole(training, uninterrupted, cluster)


def test_an_executor_that_stands_still_with_all_its_processes(
    prepared: Path, cluster: Cluster, uninterrupted: Path, tmp_path: Path
) -> None:
    """As when a machine freezes: Spark gives it up after spark.network.timeout.

    The other limits are far from what a loaded machine needs to import TensorFlow.
    """
    training = Training(
        prepared,
        tmp_path / "run",
        cluster.master,
        "fault_tolerance.heartbeat_timeout_seconds=60",
        *("spark.conf.spark.network.timeout=20s", "spark.conf.spark.network.timeoutInterval=5s"),
        "spark.conf.spark.executor.heartbeatInterval=4s",
    )
    training.wait_for_epochs(3)
    executor = cluster.executors()[0]
    frozen = [executor, *below(executor, "")]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    training.wait_for_restart(1)
    for pid in frozen:  # the machine is back: what it still wants to write is not taken
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert training.finish() == 0, training.told()
    assert_whole(training, uninterrupted, cluster)
