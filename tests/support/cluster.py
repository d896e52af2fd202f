"""A real standalone Spark cluster on loopback: a master and workers, each a process of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pyspark

from skinclf.spark.session_settings import INTERPRETED

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
HOST = "127.0.0.1"
FASTER = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Java that starts faster, for processes which live for a minute."""

SMALL = {
    "spark.driver.extraJavaOptions": FASTER,
    "spark.executor.extraJavaOptions": FASTER,
    "spark.sql.shuffle.partitions": "2",  # not 200 tasks for 100 images
    "spark.sql.adaptive.enabled": "false",
    **INTERPRETED,
}
"""What a session of our own has by itself where its executors are on this machine; spark-submit's
has it by its options."""


class Network:
    """Where a cluster's processes are: here, all on loopback."""

    master = HOST

    def worker(self, number: int) -> str:
        """The address of a worker."""
        return HOST

    def command(self, number: int) -> list[str]:
        """What a worker's command begins with."""
        return []


class Cluster:
    """A master and `workers` Spark workers of `cores`; ended with all that they started."""

    def __init__(
        self,
        folder: Path,
        workers: int = 2,
        cores: int = 1,
        python: str = sys.executable,  # of executors, unless the driver names another
        network: Network | None = None,
        conf: Mapping[str, str] | None = None,  # of master and workers, and of those who use them
    ) -> None:
        self._network = network or Network()
        with socket.socket() as probe:
            probe.bind((self._network.master, 0))
            port = probe.getsockname()[1]
        self.folder = folder
        self.master = f"spark://{self._network.master}:{port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self._count, self._cores = workers, cores
        self._python, self._conf = python, conf or {}

    def __enter__(self) -> Self:
        host, port = self.master.removeprefix("spark://").split(":")
        arguments = ["master.Master", "--host", host, "--port", port, "--webui-port", "0"]
        self._master = self._start("master", host, [], *arguments)
        for _ in range(self._count):
            self.add_worker()
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, self._master]:
            process.terminate()
            process.wait()

    def add_worker(self) -> None:
        number = len(self.workers)
        name, host = f"worker-{number}", self._network.worker(number)
        self.workers.append(
            self._start(
                name,
                host,
                self._network.command(number),
                "worker.Worker",
                *(
                    "--cores",
                    str(self._cores),
                    "--memory",
                    "2g",
                    "--host",
                    host,
                    "--webui-port",
                    "0",
                ),
                *("--work-dir", str(self.folder / name), self.master),
            )
        )

    @property
    def options(self) -> list[str]:
        """What spark-submit needs to reach it."""
        conf = (f"{key}={value}" for key, value in self._conf.items())
        return ["--master", self.master, *(word for each in conf for word in ("--conf", each))]

    def executors(self) -> list[int]:
        """Process ids of the executors' JVMs."""
        word = "CoarseGrainedExecutorBackend"
        return [pid for worker in self.workers for pid in below(worker.pid, word)]

    def python_workers(self) -> list[int]:
        """The processes that run tasks in the executors."""
        return [pid for jvm in self.executors() for pid in python_workers(jvm)]

    def _start(
        self, name: str, host: str, prefix: list[str], *arguments: str
    ) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "SPARK_LOCAL_IP": host,
            "PYSPARK_PYTHON": self._python,
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": " ".join(
                [FASTER, *(f"-D{k}={v}" for k, v in self._conf.items())]
            ),
        }
        place = f"org.apache.spark.deploy.{arguments[0]}"
        command = [*prefix, str(SPARK_CLASS), place, *arguments[1:]]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def python_workers(root: int) -> list[int]:
    """The processes below one that run tasks: children of a pyspark.daemon."""
    daemons = below(root, "pyspark.daemon")
    return [pid for pid in daemons if parent_of(pid) in daemons]


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
