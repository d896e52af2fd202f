"""What the very tasks that would train find on their machines: the facts of the preflight."""

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import TypedDict
from uuid import uuid4

import pyspark
from py4j.protocol import Py4JError
from pyspark import BarrierTaskContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from skinclf.config.schema import FaultToleranceConfig
from skinclf.errors import StorageError
from skinclf.spark.job_groups import job_group
from skinclf.storage.dataset_folder import MANIFEST
from skinclf.storage.files import beside, exists, join, read_text, write_text
from skinclf.system.background import watching
from skinclf.system.machine import free_megabytes, has_bfloat16, versions
from skinclf.system.ports import listening_socket

CONNECT_SECONDS = 5.0
DRIVER = "driver.txt"
"""What the driver writes into the probe's folder, for all tasks to read."""


class Report(TypedDict):
    """What a task found, in plain values: they go through Spark whatever versions there are."""

    task: int
    host: str
    versions: dict[str, str]  # package → its version, or "missing"
    run_problem: str  # why it can't use the probe's folder; "" where it can
    manifest: str  # the text of the dataset's; "" where it can't be read
    closed: list[str]  # workers that it does not reach, and why
    free_mb: int | None  # of memory; None where the system does not say
    cores: int
    bfloat16: bool


def probe_folder(run: str) -> str:
    """A folder for this probe alone, whose name nothing else has: it can be deleted whole.

    It is inside the run folder or, as long as there is none, beside it: a training may make the
    run folder at any moment, and then owns it.
    """
    name = f"preflight-{uuid4().hex}"
    return join(run, name) if exists(run) else beside(run, f"-{name}")


def reports_of_tasks(
    spark: SparkSession, probe: str, dataset: str, slots: int, limits: FaultToleranceConfig
) -> list[Report] | None:
    """What each of `slots` barrier tasks finds; all of them run at once.

    None where they do not end: they wait for slots that other jobs of this application hold, or in
    storage that hangs. Spark would let them wait for as long as that takes.
    """
    ports = limits.ports

    def look(_rows: Iterable[int]) -> Iterator[Report]:
        task = BarrierTaskContext.get()
        hosts = [info.address.rpartition(":")[0] for info in task.getTaskInfos()]
        with ExitStack() as held:
            listener = held.enter_context(closing(listening_socket(ports)))
            address = f"{hosts[task.partitionId()]}:{listener.getsockname()[1]}"
            addresses = task.allGather(address)
            report = report_of_task(probe, dataset, task.partitionId(), addresses)
            # Not by task.barrier(), which Spark looks at once a second.
            _stay_until_reached(listener, len(addresses))
        yield report

    context, group = spark.sparkContext, f"skinclf preflight {uuid4().hex}"
    late = threading.Event()

    def end_late(done: threading.Event) -> None:
        if not done.wait(limits.startup_timeout_seconds):
            late.set()
            context.cancelJobGroup(group)

    try:
        with (
            watching(end_late, partial(context.cancelJobGroup, group)),
            job_group(context, group, "preflight", interrupts=True),
        ):
            return context.parallelize(range(slots), slots).barrier().mapPartitions(look).collect()
    except (Py4JError, PySparkException):
        if not late.is_set():
            raise
    return None


def report_of_task(probe: str, dataset: str, task: int, addresses: list[str]) -> Report:
    """What this machine has for worker `task`, which tries to reach `addresses` (host:port)."""
    return {
        "task": task,
        "host": socket.gethostname(),
        "versions": own_versions(),
        "run_problem": _write_problem(probe, task),
        "manifest": text_of(join(dataset, MANIFEST)),
        "closed": [problem for address in addresses for problem in _closed(address)],
        "free_mb": free_megabytes(),
        "cores": os.cpu_count() or 1,
        "bfloat16": has_bfloat16(),
    }


def _write_problem(probe: str, task: int) -> str:
    try:
        if read_text(join(probe, DRIVER)) != probe:
            return "the driver's file has another content here"
        write_text(join(probe, f"{task}.txt"), socket.gethostname())
    except (OSError, StorageError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def text_of(path: str) -> str:
    """A file's text; "" where it can't be read."""
    try:
        return read_text(path)
    except OSError:
        return ""


def _stay_until_reached(listener: socket.socket, times: int) -> None:
    """Wait until so many have connected, or all have given up."""
    deadline = time.monotonic() + times * CONNECT_SECONDS
    with suppress(TimeoutError):
        for _ in range(times):
            listener.settimeout(max(deadline - time.monotonic(), 0.1))
            listener.accept()[0].close()


def _closed(address: str) -> list[str]:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        return [f"{socket.gethostname()} can't connect to {address} ({error})"]
    return []


def own_versions() -> dict[str, str]:
    """The versions of the packages that all workers have to share, in this process."""
    # Spark may bring a pyspark that is not installed as a package.
    return versions() | {"pyspark": pyspark.__version__}
