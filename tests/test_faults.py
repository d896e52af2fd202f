"""Training on a real standalone cluster of two one-core workers, some of which are killed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyspark
import pytest

from skinclf.dataset_folder import Dataset
from skinclf.run_folder import read_history
from tests.conftest import road_assignments, weights

EPOCHS = 40
SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
PATIENCE = 240


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[int]]]:
    """(master URL, process ids of the two Spark workers)."""
    folder = tmp_path_factory.mktemp("cluster")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{probe.getsockname()[1]}"
    environment = os.environ | {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_DAEMON_MEMORY": "512m",
    }

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (folder / f"{name}.log").open("wb")
        command = [str(SPARK_CLASS), f"org.apache.spark.deploy.{arguments[0]}", *arguments[1:]]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    host, port = master.removeprefix("spark://").split(":")
    address = ("--host", host, "--port", port, "--webui-port", "0")
    processes = [start("master", "master.Master", *address)]
    workers = [
        start(
            f"worker-{n}",
            "worker.Worker",
            *("--cores", "1", "--memory", "2g", "--host", host, "--webui-port", "0"),
            *("--work-dir", str(folder / f"work-{n}"), master),
        )
        for n in range(2)
    ]
    yield master, [worker.pid for worker in workers]
    for process in [*workers, *processes]:
        process.terminate()
        process.wait()


class Training:
    """A `skinclf train` of its own process on the cluster."""

    def __init__(self, road: Path, run: Path, cluster: tuple[str, list[int]], *more: str) -> None:
        self.run, self.master, self.spark_workers = run, *cluster
        self.settings = [
            *road_assignments(road),
            *(f"run.path={run}", f"spark.master={self.master}", f"train.epochs={EPOCHS}"),
            *("train.slots=2", "train.local_mode=false", "train.dropout=0.5"),
            "spark.conf.spark.scheduler.barrier.maxConcurrentTasksCheck.interval=3s",
            *more,
        ]
        self.start()

    def start(self) -> None:
        words = (word for setting in self.settings for word in ("--set", setting))
        with self.run.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(["skinclf", "train", *words], stdout=log, stderr=log)

    def wait_for_epochs(self, count: int) -> None:
        until(lambda: len(read_history(str(self.run))) >= count, self.told)

    def finish(self) -> int:
        until(lambda: self.process.poll() is not None, self.told)
        return self.process.returncode

    def told(self) -> str:
        return self.run.with_suffix(".log").read_text()[-5000:]

    def restarts(self) -> list[dict[str, object]]:
        file = self.run / "restarts.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def executors(self) -> list[int]:
        return [p for w in self.spark_workers for p in below(w, "CoarseGrainedExecutorBackend")]

    def python_workers(self) -> list[int]:
        """The processes that train: children of the executors' pyspark.daemon."""
        daemons = [p for executor in self.executors() for p in below(executor, "pyspark.daemon")]
        return [pid for pid in daemons if parent_of(pid) in daemons]


def until(condition: Callable[[], bool], told: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE} s; the job said:\n{told()}")
        time.sleep(0.1)


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def below(root: int, word: str) -> list[int]:
    """The living descendants of a process that have a word in their command line."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    parents = {pid: parent_of(pid) for pid in pids}
    family = [root]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return [pid for pid in family[1:] if word in command_of(pid)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def assert_whole(training: Training, uninterrupted: Path) -> None:
    """Every epoch once, the weights of a run that nothing happened to, nothing left running."""
    history = read_history(str(training.run))
    assert [row["epoch"] for row in history] == list(range(1, EPOCHS + 1))
    assert np.array_equal(weights(training.run), weights(uninterrupted))
    until(lambda: not training.python_workers(), training.told)


@pytest.fixture(scope="module")
def uninterrupted(road: Path, cluster: tuple[str, list[int]]) -> Path:
    training = Training(road, road / "run-uninterrupted", cluster)
    assert training.finish() == 0, training.told()
    assert training.restarts() == []
    return training.run


@pytest.mark.slow
def test_a_killed_training_process_and_then_a_killed_executor(
    road: Path, cluster: tuple[str, list[int]], uninterrupted: Path
) -> None:
    training = Training(road, road / "run-killed", cluster)
    training.wait_for_epochs(3)
    os.kill(training.python_workers()[-1], signal.SIGKILL)
    until(lambda: len(training.restarts()) == 1, training.told)
    reached = len(read_history(str(training.run)))
    training.wait_for_epochs(reached + 3)
    os.kill(training.executors()[0], signal.SIGKILL)
    assert training.finish() == 0, training.told()
    assert len(training.restarts()) == 2
    assert all(restart["cause"] for restart in training.restarts())
    assert_whole(training, uninterrupted)


@pytest.mark.slow
def test_a_training_process_that_stands_still(
    road: Path, cluster: tuple[str, list[int]], uninterrupted: Path
) -> None:
    training = Training(road, road / "run-stopped", cluster, "supervise.stall_seconds=8")
    training.wait_for_epochs(3)
    os.kill(training.python_workers()[0], signal.SIGSTOP)
    assert training.finish() == 0, training.told()
    assert len(training.restarts()) >= 1
    assert_whole(training, uninterrupted)


@pytest.mark.slow
def test_a_killed_driver_and_the_same_command_again(
    road: Path, cluster: tuple[str, list[int]], uninterrupted: Path
) -> None:
    training = Training(road, road / "run-driver", cluster)
    training.wait_for_epochs(3)
    for pid in [*below(training.process.pid, "java"), training.process.pid]:
        os.kill(pid, signal.SIGKILL)
    training.process.wait()
    reached = len(read_history(str(training.run)))
    assert 3 <= reached < EPOCHS
    until(lambda: not training.python_workers(), training.told)
    training.start()
    assert training.finish() == 0, training.told()
    assert "going on after epoch" in training.told()
    assert_whole(training, uninterrupted)


@pytest.mark.slow
def test_a_damaged_shard_fails_at_once_with_its_name(
    road: Path, cluster: tuple[str, list[int]], tmp_path: Path
) -> None:
    damaged = tmp_path / "dataset"
    shutil.copytree(road / "dataset", damaged)
    file = damaged / Dataset.read(str(damaged)).files_of("train")[-1].path
    file.write_bytes(file.read_bytes()[:-1000])
    training = Training(road, tmp_path / "run", cluster, f"dataset.path={damaged}")
    assert training.finish() == 1
    assert "can't be read" in training.told()
    assert file.name in training.told()
    assert training.restarts() == []
    assert "Traceback" not in training.told()
