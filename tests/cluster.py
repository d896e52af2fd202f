"""A real standalone Spark cluster on loopback: a master and workers, each a process of its own."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

import pyspark

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
HOST = "127.0.0.1"


class Cluster:
    """A master and `workers` Spark workers of one core; ended with all that they started."""

    def __init__(self, folder: Path, workers: int = 2, python: str = sys.executable) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        self.folder = folder
        self.master = f"spark://{HOST}:{port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self._count = workers
        self._python = python  # which executors use unless the driver names another

    def __enter__(self) -> Self:
        port = self.master.rpartition(":")[2]
        self._master = self._start(
            "master", "master.Master", "--host", HOST, "--port", port, "--webui-port", "0"
        )
        for _ in range(self._count):
            self.add_worker()
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, self._master]:
            process.terminate()
            process.wait()

    def add_worker(self) -> None:
        name = f"worker-{len(self.workers)}"
        self.workers.append(
            self._start(
                name,
                "worker.Worker",
                *("--cores", "1", "--memory", "2g", "--host", HOST, "--webui-port", "0"),
                *("--work-dir", str(self.folder / name), self.master),
            )
        )

    def executors(self) -> list[int]:
        """Process ids of the executors' JVMs."""
        word = "CoarseGrainedExecutorBackend"
        return [pid for worker in self.workers for pid in below(worker.pid, word)]

    def python_workers(self) -> list[int]:
        """The processes that run tasks: children of the executors' pyspark.daemon."""
        daemons = [pid for jvm in self.executors() for pid in below(jvm, "pyspark.daemon")]
        return [pid for pid in daemons if parent_of(pid) in daemons]

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "SPARK_LOCAL_IP": HOST,
            "PYSPARK_PYTHON": self._python,
            "SPARK_DAEMON_MEMORY": "512m",
        }
        command = [str(SPARK_CLASS), f"org.apache.spark.deploy.{arguments[0]}", *arguments[1:]]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def below(root: int, word: str) -> list[int]:
    """The living descendants of a process that have a word in their command line."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    parents = {pid: parent_of(pid) for pid in pids}
    family = [root]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return [pid for pid in family[1:] if word in command_of(pid)]


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
