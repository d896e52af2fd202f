"""Is the cluster fit to train? Judged in seconds by what its tasks find: see distributed.probe."""

from dataclasses import dataclass

from pyspark.sql import SparkSession

from skinclf.config.schema import FaultToleranceConfig, TrainConfig
from skinclf.distributed.probe import (
    DRIVER,
    Report,
    own_versions,
    probe_folder,
    report_of_task,
    reports_of_tasks,
    text_of,
)
from skinclf.errors import PreflightError, SlotsUnavailable, StorageError
from skinclf.spark.slots import wait_for_slots
from skinclf.storage.dataset_folder import MANIFEST, Dataset
from skinclf.storage.files import delete, join, write_text
from skinclf.system.machine import MISSING
from skinclf.training import INSTALL_TENSORFLOW
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
    checks = []
    if not config.local_mode:
        checks.append(_of_settings(spark))
        try:
            wait_for_slots(spark, config.slots, limits.slot_wait_timeout_seconds)
        except SlotsUnavailable as error:
            # One machine never gets more of them; on a cluster other jobs end.
            fixed = str(spark.sparkContext.master).startswith("local")
            found = f"too few for {config.slots}"
            return [*checks, Check("slots", False, found, str(error), temporary=not fixed)]
        checks.append(Check("slots", True, f"{config.slots} at once"))
    probe = probe_folder(run)
    try:
        write_text(join(probe, DRIVER), probe)
    except StorageError as error:
        return [*checks, Check("run folder", False, "can't be written", str(error))]
    try:
        if config.local_mode:
            reports = [report_of_task(probe, dataset.path, 0, [])]
        else:
            of_tasks = reports_of_tasks(spark, probe, dataset.path, config.slots, limits)
            if of_tasks is None:
                return [*checks, _late(probe, dataset.path, limits)]
            reports = of_tasks
        checks += _versions(reports, own_versions(), spark.version)
        return [*checks, *_of_reports(reports, dataset, probe, config)]
    finally:
        delete(probe)


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


def _of_settings(spark: SparkSession) -> Check:
    """TLS. What else a session has to have (REQUIRED_CONF) is set, or refused, when it starts."""
    conf = spark.sparkContext.getConf()
    ssl = conf.get("spark.ssl.enabled", "false") == "true"
    ignored = conf.get("tensorflow.spark.distributor.ignoreSsl", "false") == "true"
    return Check(
        "encryption",
        ignored or not ssl,
        "spark.ssl.enabled, which TensorFlow's own traffic does not follow" if ssl else "none",
        "Gradients go between workers as plain gRPC. Where the network may see them, allow "
        "it: --conf tensorflow.spark.distributor.ignoreSsl=true",
    )


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
        elif version == MISSING and name not in MAY_DIFFER:
            checks.append(
                Check(f"version of {name}", False, "it is not installed", INSTALL_TENSORFLOW)
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


def _run_folder(reports: list[Report], probe: str) -> Check:
    problems = [f"{r['host']}: {r['run_problem']}" for r in reports if r["run_problem"]]
    problems = problems or [
        f"what {report['host']} wrote is not seen by the driver"
        for report in reports
        if text_of(join(probe, f"{report['task']}.txt")) != report["host"]
    ]
    return Check(
        "run folder",
        not problems,
        "; ".join(problems) or "read and written by all",
        "run.path has to be on storage that driver and executors share, and may write to",
    )


def _dataset(reports: list[Report], dataset: Dataset) -> Check:
    unseen = [r["host"] for r in reports if r["manifest"] != text_of(join(dataset.path, MANIFEST))]
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
