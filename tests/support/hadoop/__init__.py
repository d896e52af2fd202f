"""A real Hadoop on loopback: HDFS of a NameNode and a DataNode, YARN of a ResourceManager and two
NodeManagers, each a process of its own.
"""

import os
import re
import subprocess
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Self
from xml.sax.saxutils import escape

from tests.support.cluster import HOST, below, command_of
from tests.support.ports import free_ports
from tests.support.repository import REPOSITORY
from tests.support.training import until

JARS = REPOSITORY / ".tools" / "hadoop"
HERE = Path(__file__).parent


class Hadoop:
    """The daemons and their settings in `folder`; ended with all that they started."""

    def __init__(self, folder: Path, cores: int = 2, memory_mb: int = 6144) -> None:
        self.folder = folder
        self.conf = folder / "conf"
        names = ("hdfs", "rm", "scheduler", "tracker", "admin", "rm_web")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.root = f"hdfs://{HOST}:{ports['hdfs']}"
        self._web = f"http://{HOST}:{ports['rm_web']}/ws/v1/cluster"
        self._cores, self._memory = cores, memory_mb
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.conf.mkdir(parents=True)
        self._write("core-site", {"fs.defaultFS": self.root, "hadoop.tmp.dir": f"{folder}/hadoop"})
        self._write(
            "hdfs-site",
            {
                "dfs.replication": 1,
                "dfs.namenode.http-address": f"{HOST}:0",
                **{f"dfs.datanode.{name}": f"{HOST}:0" for name in DATANODE_PORTS},
            },
        )
        self._write("capacity-scheduler", CAPACITY)
        manager = "yarn.resourcemanager"
        self._yarn = {
            f"{manager}.hostname": HOST,
            f"{manager}.address": f"{HOST}:{ports['rm']}",
            f"{manager}.scheduler.address": f"{HOST}:{ports['scheduler']}",
            f"{manager}.resource-tracker.address": f"{HOST}:{ports['tracker']}",
            f"{manager}.admin.address": f"{HOST}:{ports['admin']}",
            f"{manager}.webapp.address": f"{HOST}:{ports['rm_web']}",
            "yarn.scheduler.minimum-allocation-mb": 256,
            "yarn.log-aggregation-enable": "true",
        }
        self._write("yarn-site", self._yarn)

    @property
    def environment(self) -> dict[str, str]:
        """What a client of this Hadoop has in its environment."""
        return {"HADOOP_CONF_DIR": str(self.conf), "YARN_CONF_DIR": str(self.conf)}

    def __enter__(self) -> Self:
        name = "org.apache.hadoop.hdfs.server.namenode.NameNode"
        done = subprocess.run(
            self._java(self.conf, name, "-format", "-nonInteractive"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        try:
            self._start("namenode", name)
            self._start("datanode", "org.apache.hadoop.hdfs.server.datanode.DataNode")
            yarn = "org.apache.hadoop.yarn.server"
            self._start("resourcemanager", f"{yarn}.resourcemanager.ResourceManager")
            for number in range(2):
                self._start(
                    f"nodemanager-{number}",
                    f"{yarn}.nodemanager.NodeManager",
                    self._node_settings(number),
                )
            self._wait_for_nodes(2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name, process in reversed(self._daemons.items()):
            for pid in below(process.pid, "") if name.startswith("nodemanager") else []:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)  # containers outlive their NodeManager
            process.terminate()
        for process in self._daemons.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def containers(self, word: str) -> list[int]:
        """Process ids of the JVMs that NodeManagers started and that have `word` in their command:
        `CoarseGrainedExecutorBackend` or `ApplicationMaster`.
        """
        found = [
            pid
            for name, process in self._daemons.items()
            if name.startswith("nodemanager")
            for pid in below(process.pid, word)
        ]
        return [pid for pid in found if "/bin/java" in command_of(pid).split("\0")[0]]

    def logs_of(self, application: str) -> str:
        """What all containers of a finished application said, as YARN has collected it: some time
        after the application's end.
        """
        place = "org.apache.hadoop.yarn.client.cli.LogsCLI"
        command = self._java(self.conf, place, "-applicationId", application)
        logs = ""

        def has_the_driver_s() -> bool:
            nonlocal logs
            logs = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            return re.search("Container: container_.*_000001 on ", logs) is not None

        until(has_the_driver_s, lambda: f"no logs of {application}")
        return logs

    def _start(self, name: str, place: str, conf: Path | None = None) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._daemons[name] = subprocess.Popen(
                self._java(conf or self.conf, place), stdout=log, stderr=log, cwd=self.folder
            )

    def _java(self, conf: Path, place: str, *words: str) -> list[str]:
        return [
            *("java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            "--add-opens=java.base/java.lang=ALL-UNNAMED",  # YARN's injector changes classes
            *("-cp", f"{conf}:{HERE}:{JARS}/*", place, *words),
        ]

    def _node_settings(self, number: int) -> Path:
        """The settings of one of several NodeManagers of a machine: ports and folders."""
        place = self.folder / f"node-{number}"
        conf = place / "conf"
        conf.mkdir(parents=True)
        for file in self.conf.iterdir():
            (conf / file.name).write_bytes(file.read_bytes())
        node = "yarn.nodemanager"
        settings = {
            f"{node}.hostname": HOST,
            **{f"{node}.{name}": f"{HOST}:0" for name in NODE_PORTS},
            f"{node}.local-dirs": place / "local",
            f"{node}.log-dirs": place / "logs",
            f"{node}.resource.memory-mb": self._memory,
            f"{node}.resource.cpu-vcores": self._cores,
            # A JVM reserves far more addresses than it uses; how full the disk is says nothing.
            f"{node}.vmem-check-enabled": "false",
            f"{node}.disk-health-checker.max-disk-utilization-per-disk-percentage": 100,
        }
        self._write("yarn-site", self._yarn | settings, conf)
        return conf

    def _wait_for_nodes(self, count: int) -> None:
        def are_there() -> bool:
            for name, process in self._daemons.items():
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                assert process.poll() is None, f"{name} ended:\n{log[-3000:]}"
            with suppress(OSError):
                answer = urllib.request.urlopen(f"{self._web}/metrics", timeout=5).read().decode()
                return f'"activeNodes":{count}' in answer
            return False

        until(are_there, lambda: f"not {count} NodeManagers: see {self.folder}")

    def _write(self, name: str, settings: dict[str, object], conf: Path | None = None) -> None:
        rows = "".join(
            f"<property><name>{key}</name><value>{escape(str(value))}</value></property>\n"
            for key, value in settings.items()
        )
        file = (conf or self.conf) / f"{name}.xml"
        file.write_text(f"<configuration>\n{rows}</configuration>\n")


DATANODE_PORTS = ("address", "http.address", "ipc.address")
NODE_PORTS = ("address", "localizer.address", "webapp.address")
CAPACITY = {
    "yarn.scheduler.capacity.root.queues": "default",
    "yarn.scheduler.capacity.root.default.capacity": 100,
    "yarn.scheduler.capacity.maximum-am-resource-percent": 0.9,
}
