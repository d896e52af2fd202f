"""Training on a real standalone cluster of two one-core workers, some of which are killed."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import read_history
from tests.support.cluster import Cluster, below
from tests.support.pipeline import weights
from tests.support.training import EPOCHS, Training, until

pytestmark = pytest.mark.faults


def assert_whole(training: Training, uninterrupted: Path) -> None:
    """Every epoch once, the weights of a run that nothing happened to, nothing left running."""
    history = read_history(str(training.run))
    assert [row["epoch"] for row in history] == list(range(1, EPOCHS + 1))
    assert np.array_equal(weights(training.run), weights(uninterrupted))
    until(lambda: not training.cluster.python_workers(), training.told)


@pytest.fixture(scope="module")
def uninterrupted(prepared: Path, cluster: Cluster) -> Path:
    training = Training(prepared, prepared / "run-uninterrupted", cluster)
    assert training.finish() == 0, training.told()
    assert training.restarts() == []
    return training.run


def test_a_killed_training_process_and_then_a_killed_executor(
    prepared: Path, cluster: Cluster, uninterrupted: Path
) -> None:
    training = Training(prepared, prepared / "run-killed", cluster)
    training.wait_for_epochs(3)
    os.kill(training.cluster.python_workers()[-1], signal.SIGKILL)
    training.wait_until(lambda: len(training.restarts()) == 1)
    reached = len(read_history(str(training.run)))
    training.wait_for_epochs(reached + 3)
    os.kill(training.cluster.executors()[0], signal.SIGKILL)
    assert training.finish() == 0, training.told()
    assert len(training.restarts()) == 2
    assert all(restart["cause"] for restart in training.restarts())
    assert_whole(training, uninterrupted)


def test_a_training_process_that_stands_still(
    prepared: Path, cluster: Cluster, uninterrupted: Path
) -> None:
    training = Training(
        prepared, prepared / "run-stopped", cluster, "fault_tolerance.heartbeat_timeout_seconds=8"
    )
    training.wait_for_epochs(3)
    stopped = training.cluster.python_workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    assert training.finish() == 0, training.told()
    assert f"process {stopped}) sent no heartbeat for" in str(training.restarts()[0]["cause"])
    assert_whole(training, uninterrupted)


def test_an_executor_that_stands_still_with_all_its_processes(
    prepared: Path, cluster: Cluster, uninterrupted: Path
) -> None:
    """As when a machine freezes: Spark gives it up after spark.network.timeout.

    The other limits are far from what a loaded machine needs to import TensorFlow.
    """
    training = Training(
        prepared,
        prepared / "run-frozen",
        cluster,
        "fault_tolerance.heartbeat_timeout_seconds=60",
        *("spark.conf.spark.network.timeout=20s", "spark.conf.spark.network.timeoutInterval=5s"),
        "spark.conf.spark.executor.heartbeatInterval=4s",
    )
    training.wait_for_epochs(3)
    executor = cluster.executors()[0]
    frozen = [executor, *below(executor, "")]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    training.wait_until(lambda: len(training.restarts()) >= 1)
    reached = len(read_history(str(training.run)))
    training.wait_for_epochs(min(reached + 3, EPOCHS))
    for pid in frozen:  # the machine is back: what it still wants to write is not taken
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert training.finish() == 0, training.told()
    assert_whole(training, uninterrupted)


def test_a_killed_spark_worker_that_its_service_manager_starts_again(
    prepared: Path, cluster: Cluster, uninterrupted: Path
) -> None:
    training = Training(prepared, prepared / "run-worker", cluster)
    training.wait_for_epochs(3)
    cluster.workers[-1].kill()
    waiting = "waiting for 2 slots; the cluster has 1 now"
    training.wait_until(lambda: waiting in training.told())
    cluster.add_worker()
    assert training.finish() == 0, training.told()
    assert len(training.restarts()) == 1
    assert_whole(training, uninterrupted)


def test_a_killed_driver_and_the_same_command_again(
    prepared: Path, cluster: Cluster, uninterrupted: Path
) -> None:
    training = Training(prepared, prepared / "run-driver", cluster)
    training.wait_for_epochs(3)
    for pid in [*below(training.process.pid, "java"), training.process.pid]:
        os.kill(pid, signal.SIGKILL)
    training.process.wait()
    reached = len(read_history(str(training.run)))
    assert 3 <= reached < EPOCHS
    until(lambda: not training.cluster.python_workers(), training.told)
    training.start()
    assert training.finish() == 0, training.told()
    assert "going on from checkpoint" in training.told()
    assert_whole(training, uninterrupted)


def test_a_damaged_shard_fails_at_once_with_its_name(
    prepared: Path, cluster: Cluster, tmp_path: Path
) -> None:
    damaged = tmp_path / "dataset"
    shutil.copytree(prepared / "dataset", damaged)
    file = damaged / Dataset.read(str(damaged)).files_of("train")[-1].path
    file.write_bytes(file.read_bytes()[:-1000])
    training = Training(prepared, tmp_path / "run", cluster, f"dataset.path={damaged}")
    assert training.finish() == 1
    assert "can't be read" in training.told()
    assert file.name in training.told()
    assert training.restarts() == []
    assert "Traceback" not in training.told()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own: a few of the 9.5 MB checkpoints fit."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=25m", "none", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"needs leave to mount a file system: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def test_a_disk_that_is_full_and_then_has_room(
    prepared: Path, cluster: Cluster, uninterrupted: Path, small_disk: Path
) -> None:
    training = Training(prepared, small_disk / "run", cluster)
    assert training.finish() == 1
    assert "can't be written" in training.told()
    assert "No space left on device" in training.told()
    assert training.restarts() == []
    remount(small_disk, "size=200m")
    training.start()
    assert training.finish() == 0, training.told()
    assert_whole(training, uninterrupted)


def test_a_run_folder_that_may_not_be_written(
    prepared: Path, cluster: Cluster, small_disk: Path
) -> None:
    remount(small_disk, "ro")
    training = Training(prepared, small_disk / "run", cluster)
    assert training.finish() == 1
    assert "Read-only file system" in training.told()
