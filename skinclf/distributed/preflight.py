"""Is the cluster fit to train? Looked at by the very tasks that would train, in seconds."""

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import pyspark
from py4j.protocol import Py4JError
from pyspark import BarrierTaskContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from skinclf.config.schema import FaultToleranceConfig, TrainConfig
from skinclf.errors import PreflightError, SlotsUnavailable, StorageError
from skinclf.spark.job_groups import job_group
from skinclf.spark.slots import wait_for_slots
from skinclf.storage.dataset_folder import MANIFEST, Dataset
from skinclf.storage.files import beside, delete, exists, join, read_text, write_text
from skinclf.system.background import watching
from skinclf.system.machine import free_megabytes, has_bfloat16, versions
from skinclf.system.ports import listening_socket
from skinclf.training.shards import held_bytes

TENSORFLOW_MB = 1300
"""What a training process takes before its images, as measured."""

BY_MINOR = ("python", "pyspark")
"""Whose versions have to match in the first two numbers: those after them only mend faults."""

MAY_DIFFER = ("numpy", "pandas", "pyarrow")
"""Whose versions may differ: what tasks and driver exchange has formats that are stable."""

SAME_VERSIONS = (
    "Give every executor the driver's environment: install the same requirements.lock, or ship it "
    "with --archives and PYSPARK_PYTHON"
)

CONNECT_SECONDS = 5.0
DRIVER = "driver.txt"

Report = dict[str, Any]
"""What a task found: plain values, so that it goes through Spark whatever versions there are."""


@dataclass(frozen=True)
class Check:
    """One thing that training needs.

    `advice` says what to change where it is not there, `hint` what would be faster where it is.
    `temporary`: it may be there later without a change. `warning`: training can begin, but
    `advice` had better be followed.
    """

    name: str
    passed: bool
    found: str
    advice: str = ""
    hint: str = ""
    temporary: bool = False
    warning: bool = False

    @property
    def result(self) -> str:
        """In a word."""
        return "FAILED" if not self.passed else "warning" if self.warning else "ok"


def preflight(
    spark: SparkSession,
    dataset: Dataset,
    run: str,
    config: TrainConfig,
    limits: FaultToleranceConfig,
) -> list[Check]:
    """All checks for a training of `config`, which trains nothing and leaves nothing behind.

    In local mode the driver is looked at alone. Where there are too few slots, what needs
    them is not looked at.
    """
    checks = _of_settings(spark)
    if not config.local_mode:
        try:
            wait_for_slots(spark, config.slots, limits.slot_wait_timeout_seconds)
        except SlotsUnavailable as error:
            # One machine never gets more of them; on a cluster other jobs end.
            fixed = str(spark.sparkContext.master).startswith("local")
            found = f"too few for {config.slots}"
            return [*checks, Check("slots", False, found, str(error), temporary=not fixed)]
        checks.append(Check("slots", True, f"{config.slots} at once"))
    probe = _probe_folder(run)
    try:
        write_text(join(probe, DRIVER), probe)
    except StorageError as error:
        return [*checks, Check("run folder", False, "can't be written", str(error))]
    try:
        if config.local_mode:
            reports = [_report(probe, dataset.path, 0, [])]
        else:
            of_tasks = _reports(spark, probe, dataset.path, config.slots, limits)
            if of_tasks is None:
                return [*checks, _late(probe, dataset.path, limits)]
            reports = of_tasks
        checks += _versions(reports, _own_versions(), spark.version)
        return [*checks, *_of_reports(reports, dataset, probe, config)]
    finally:
        delete(probe)


def _probe_folder(run: str) -> str:
    """A folder for this probe alone, whose name nothing else has: it can be deleted whole.

    It is inside the run folder or, as long as there is none, beside it: a training may make the
    run folder at any moment, and then owns it.
    """
    name = f"preflight-{uuid4().hex}"
    return join(run, name) if exists(run) else beside(run, f"-{name}")


def check_fit(checks: list[Check]) -> None:
    """Raise PreflightError with what to change, unless all checks passed; SlotsUnavailable where
    waiting may help.
    """
    failed = [check for check in checks if not check.passed]
    if failed:
        lines = [f"{check.name}: {check.found}. {check.advice}" for check in failed]
        temporary = all(check.temporary for check in failed)
        kind = SlotsUnavailable if temporary else PreflightError
        raise kind("this cluster can't train yet:\n  " + "\n  ".join(lines))


def _of_settings(spark: SparkSession) -> list[Check]:
    conf = spark.sparkContext.getConf()
    dynamic = conf.get("spark.dynamicAllocation.enabled", "false") == "true"
    ssl = conf.get("spark.ssl.enabled", "false") == "true"
    ignored = conf.get("tensorflow.spark.distributor.ignoreSsl", "false") == "true"
    return [
        Check(
            "dynamic allocation",
            not dynamic,
            "on" if dynamic else "off",
            "A barrier stage needs executors that stay: --conf spark.dynamicAllocation.enabled="
            "false",
        ),
        Check(
            "encryption",
            ignored or not ssl,
            "spark.ssl.enabled, which TensorFlow's own traffic does not follow" if ssl else "none",
            "Gradients go between workers as plain gRPC. Where the network may see them, allow "
            "it: --conf tensorflow.spark.distributor.ignoreSsl=true",
        ),
    ]


def _of_reports(
    reports: list[Report], dataset: Dataset, probe: str, config: TrainConfig
) -> list[Check]:
    return [
        _run_folder(reports, probe),
        _dataset(reports, dataset),
        *([] if config.local_mode else [_ports(reports)]),
        _memory(reports, dataset, config),
        _processors(reports, config),
    ]


def _versions(reports: list[Report], ours: dict[str, str], spark: str) -> list[Check]:
    """A check for each package whose version differs between tasks and driver, or one that passes.

    `spark`: the version of the JVM's Spark, which pyspark's has to match.
    """
    checks = []
    for name, version in ours.items():
        theirs = {(report["versions"][name], report["host"]) for report in reports}
        differing = [
            f"{their} on {host}"
            for their, host in sorted(theirs)
            if _compared(name, their) != _compared(name, version)
        ]
        if differing:
            found = f"{', '.join(differing)}, {version} on the driver"
            may_differ = name in MAY_DIFFER
            checks.append(
                Check(f"version of {name}", may_differ, found, SAME_VERSIONS, warning=may_differ)
            )
    if _compared("pyspark", spark) != _compared("pyspark", ours["pyspark"]):
        found = f"{spark} in the JVM, pyspark {ours['pyspark']} on the driver"
        advice = f"Install the Python package of the cluster's Spark: pip install pyspark=={spark}"
        checks.append(Check("version of Spark", False, found, advice))
    agreed = ", ".join(f"{name} {version}" for name, version in ours.items())
    return checks or [Check("versions", True, f"agree: {agreed}")]


def _compared(name: str, version: str) -> str:
    """What has to be the same of a version."""
    return ".".join(version.split(".")[:2]) if name in BY_MINOR else version


def _own_versions() -> dict[str, str]:
    # Spark may bring a pyspark that is not installed as a package.
    return versions() | {"pyspark": pyspark.__version__}


def _run_folder(reports: list[Report], probe: str) -> Check:
    problems = [f"{r['host']}: {r['run_problem']}" for r in reports if r["run_problem"]]
    problems = problems or [
        f"what {report['host']} wrote is not seen by the driver"
        for report in reports
        if _text(join(probe, f"{report['task']}.txt")) != report["host"]
    ]
    return Check(
        "run folder",
        not problems,
        "; ".join(problems) or "read and written by all",
        "run.path has to be on storage that driver and executors share, and may write to",
    )


def _dataset(reports: list[Report], dataset: Dataset) -> Check:
    unseen = [r["host"] for r in reports if r["manifest"] != _text(join(dataset.path, MANIFEST))]
    return Check(
        "dataset",
        not unseen,
        f"not seen by {', '.join(unseen)}" if unseen else f"{dataset.path} is seen by all",
        "dataset.path has to be on storage that driver and executors share",
    )


def _ports(reports: list[Report]) -> Check:
    closed = [problem for report in reports for problem in report["closed"]]
    return Check(
        "worker ports",
        not closed,
        "; ".join(closed) or f"{len(reports)} workers reach each other",
        "Workers talk over TCP ports of the system's choice, or of fault_tolerance.ports: open "
        "these between executors",
    )


def _memory(reports: list[Report], dataset: Dataset, config: TrainConfig) -> Check:
    needed = TENSORFLOW_MB + held_bytes(dataset, config) // 2**20
    hosts = [report["host"] for report in reports]
    free = {
        report["host"]: report["free_mb"] // hosts.count(report["host"])
        for report in reports
        if report["free_mb"] is not None
    }
    tight = [f"{host}: {mb:,} MB a slot" for host, mb in free.items() if mb < needed]
    least = f"{min(free.values()):,} MB a slot" if free else "not known on this system"
    return Check(
        "memory",
        not tight,
        f"{'; '.join(tight) or least}, {needed:,} MB needed",
        "Fewer slots a host (spark.task.cpus), a lower train.image_cache_mb, a lower "
        "train.shuffle_window where images are streamed, or more memory outside the JVM "
        "(spark.executor.memoryOverhead)",
    )


def _processors(reports: list[Report], config: TrainConfig) -> Check:
    able = all(report["bfloat16"] for report in reports)
    cores = sorted({report["cores"] for report in reports})
    faster = "bfloat16" if able else "float32"
    # float64 is asked for to be exact, not fast.
    as_fast = config.precision in (faster, "auto", "float64")
    return Check(
        "processors",
        True,
        f"{' or '.join(map(str, cores))} cores a host, {'' if able else 'no '}bfloat16",
        hint="" if as_fast else f'train.precision = "{faster}" would be faster',
    )


def _reports(
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
            report = _report(probe, dataset, task.partitionId(), addresses)
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


def _late(probe: str, dataset: str, limits: FaultToleranceConfig) -> Check:
    return Check(
        "tasks",
        False,
        f"not ended after {limits.startup_timeout_seconds} s "
        f"(fault_tolerance.startup_timeout_seconds)",
        f"Other jobs of this application hold the slots, or executors hang in the storage of "
        f"{probe} or {dataset}: end those jobs, or rerun the same command later",
        temporary=True,
    )


def _report(probe: str, dataset: str, task: int, addresses: list[str]) -> Report:
    return {
        "task": task,
        "host": socket.gethostname(),
        "versions": _own_versions(),
        "run_problem": _write_problem(probe, task),
        "manifest": _text(join(dataset, MANIFEST)),
        "closed": [problem for address in addresses for problem in _closed(address)],
        "free_mb": free_megabytes(),
        "cores": os.cpu_count(),
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


def _text(path: str) -> str:
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
