import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pyspark
import pytest
from pyspark.sql import SparkSession

from skinclf.config.schema import FaultToleranceConfig, TrainConfig
from skinclf.distributed import preflight as judging
from skinclf.distributed import probe
from skinclf.distributed.preflight import Check, check_fit, preflight
from skinclf.errors import PreflightError, SlotsUnavailable
from skinclf.storage.dataset_folder import Dataset
from skinclf.system.machine import versions
from tests.support.datasets import dataset_of
from tests.support.training import until

TWO = TrainConfig(slots=2, local_mode=False, global_batch_size=32)
HURRY = FaultToleranceConfig(slot_wait_timeout_seconds=1)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_healthy_cluster_passes_and_nothing_is_left_behind(
    spark: SparkSession, prepared: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    checks = preflight(spark, Dataset.read(str(prepared / "dataset")), str(run), TWO, HURRY)
    check_fit(checks)
    found = by_name(checks)
    assert found.keys() == {
        *("encryption", "slots", "versions", "run folder", "dataset"),
        *("worker ports", "memory", "processors"),
    }
    assert "2 workers reach each other" in found["worker ports"].found
    assert not run.exists()


class NoSpark:
    """What local mode asks of a session: its settings and its version."""

    version = pyspark.__version__
    sparkContext = SimpleNamespace(getConf=dict)  # noqa: N815


@pytest.mark.parametrize("there", [True, False])
def test_a_training_that_begins_during_the_probe_keeps_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    run = tmp_path / "run"
    history = run / "preflight" / "history.jsonl"  # a name that the probe once took for its own
    if there:
        run.mkdir()

    def begin(*_: object) -> None:
        history.parent.mkdir(parents=True, exist_ok=True)
        history.write_text("epoch 1")

    monkeypatch.setattr(probe, "free_megabytes", begin)  # what the probe asks the machine for
    config, limits = TrainConfig(), FaultToleranceConfig()
    dataset = dataset_of([], 1, str(tmp_path))
    checks = preflight(NoSpark(), dataset, str(run), config, limits)  # type: ignore[arg-type]
    assert by_name(checks)["run folder"].passed
    assert history.read_text() == "epoch 1"
    assert [path.name for path in tmp_path.glob("**/*preflight-*")] == []


def test_too_few_slots_are_told_with_their_numbers(
    spark: SparkSession, prepared: Path, tmp_path: Path
) -> None:
    dataset = Dataset.read(str(prepared / "dataset"))
    config = TWO.model_copy(update={"slots": 4})
    checks = preflight(spark, dataset, str(tmp_path), config, HURRY)
    with pytest.raises(PreflightError, match="4 slots are needed at once and the cluster has 2"):
        check_fit(checks)  # one machine, which never gets more


def test_slots_that_another_job_holds_are_not_waited_for_without_end(
    spark: SparkSession, prepared: Path, tmp_path: Path
) -> None:
    """Spark counts them as there, and starts a barrier stage when they are free."""
    held, begun = tmp_path / "held", tmp_path / "begun"
    held.touch()

    def hold(_: int) -> None:
        begun.touch()
        while held.exists():
            time.sleep(0.1)

    other = threading.Thread(target=spark.sparkContext.parallelize([0], 1).foreach, args=[hold])
    other.start()
    limits = HURRY.model_copy(update={"startup_timeout_seconds": 1})
    try:
        until(begun.exists, lambda: "the other job")
        dataset = Dataset.read(str(prepared / "dataset"))
        checks = preflight(spark, dataset, str(tmp_path / "run"), TWO, limits)
    finally:
        held.unlink()
        other.join()
    with pytest.raises(SlotsUnavailable, match=r"tasks: not ended after 1 s .*end those jobs"):
        check_fit(checks)


def test_slots_alone_that_are_missing_may_be_there_later() -> None:
    slots = Check("slots", False, "too few for 4", "add executors", temporary=True)
    with pytest.raises(SlotsUnavailable, match=r"slots: too few for 4\. add executors") as caught:
        check_fit([slots, Check("versions", True, "")])
    assert caught.value.exit_status == 75
    with pytest.raises(PreflightError):
        check_fit([slots, Check("versions", False, "keras 9")])


OURS = {"python": "3.12.4", "skinclf": "0.1.0", "tensorflow": "2.21.0", "pyarrow": "21.0.0"}
SPARK = {"pyspark": "4.1.0"}


@pytest.mark.parametrize(
    ("theirs", "jvm", "told"),
    [
        ({"python": "3.12.9", "pyspark": "4.1.2"}, "4.1.1", {"versions": "ok"}),
        ({"python": "3.11.4"}, "4.1.0", {"version of python": "FAILED"}),
        ({"skinclf": "0.2.0"}, "4.1.0", {"version of skinclf": "FAILED"}),
        ({"tensorflow": "2.20.0"}, "4.1.0", {"version of tensorflow": "FAILED"}),
        ({"pyarrow": "missing"}, "4.1.0", {"version of pyarrow": "warning"}),
        ({"pyspark": "4.0.1"}, "4.1.0", {"version of pyspark": "FAILED"}),
        ({}, "3.5.9", {"version of Spark": "FAILED"}),
        (
            {"tensorflow": "missing", "pyarrow": "20.0.0"},
            "4.1.0",
            {"version of tensorflow": "FAILED", "version of pyarrow": "warning"},
        ),
    ],
)
def test_versions_that_matter_have_to_agree(
    theirs: dict[str, str], jvm: str, told: dict[str, str]
) -> None:
    ours = OURS | SPARK
    reports: list[Any] = [  # with what is looked at alone
        {"host": "node-1", "versions": ours},
        {"host": "node-2", "versions": ours | theirs},
    ]
    checks = judging._versions(reports, ours, jvm)
    assert {check.name: check.result for check in checks} == told
    for check in checks:
        name = check.name.removeprefix("version of ")
        if name in theirs:
            assert check.found == f"{theirs[name]} on node-2, {ours[name]} on the driver"


def test_what_is_missing_on_all_machines_alike_is_told() -> None:
    ours = OURS | SPARK | {"tensorflow": "missing", "pyarrow": "missing"}
    reports: list[Any] = [{"host": "node-1", "versions": ours}]
    (check,) = judging._versions(reports, ours, SPARK["pyspark"])
    assert (check.name, check.passed) == ("version of tensorflow", False)
    assert "pip install 'skinclf[tf]'" in check.advice


def test_another_environment_on_the_executors_is_told_by_package(
    spark: SparkSession, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = versions()
    monkeypatch.setattr(probe, "versions", lambda: ours | {"keras": "9.9"})
    checks = preflight(spark, Dataset.read(str(prepared / "dataset")), str(tmp_path), TWO, HURRY)
    told = by_name(checks)["version of keras"]
    assert not told.passed
    assert told.found.startswith(f"{ours['keras']} on ")
    assert told.found.endswith(", 9.9 on the driver")


def test_a_dataset_and_a_run_folder_that_executors_can_t_reach_are_told(
    spark: SparkSession, prepared: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    dataset = Dataset.read(str(prepared / "dataset"))
    report = probe.report_of_task(str(blocked / "run"), str(tmp_path / "elsewhere"), 0, [])
    checks = by_name(judging._of_reports([report], dataset, str(blocked / "run"), TWO))
    assert "Not a directory" in checks["run folder"].found
    assert "not seen by" in checks["dataset"].found
    with pytest.raises(PreflightError, match="storage that driver and executors share"):
        check_fit(list(checks.values()))


def test_a_run_folder_that_the_driver_may_not_write_is_a_failed_check(
    prepared: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("not a folder")
    found = in_local_mode(prepared, tmp_path, TrainConfig())["run folder"]
    assert (found.passed, found.found) == (False, "can't be written")
    assert "Not a directory" in found.advice


def test_ports_that_are_closed_are_told(prepared: Path, tmp_path: Path) -> None:
    """Port 1 of this machine: nobody listens there."""
    dataset = Dataset.read(str(prepared / "dataset"))
    report = probe.report_of_task(str(tmp_path), dataset.path, 0, ["127.0.0.1:1"])
    checks = by_name(judging._of_reports([report, report], dataset, str(tmp_path), TWO))
    assert "can't connect to 127.0.0.1:1" in checks["worker ports"].found


def test_memory_that_is_short_is_told(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "free_megabytes", lambda: 1000)
    memory = in_local_mode(prepared, tmp_path, TrainConfig())["memory"]
    assert "1,000 MB a slot, 1,3" in memory.found
    assert not memory.passed


def in_local_mode(prepared: Path, tmp_path: Path, config: TrainConfig) -> dict[str, Check]:
    dataset = Dataset.read(str(prepared / "dataset"))
    run = str(tmp_path / "run")
    return by_name(preflight(NoSpark(), dataset, run, config, HURRY))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("precision", "able", "hint"),
    [
        ("bfloat16", False, 'train.precision = "float32" would be faster'),
        ("float32", True, 'train.precision = "bfloat16" would be faster'),
        ("float32", False, ""),
        ("float64", True, ""),  # asked for exactness, not for speed
    ],
)
def test_what_the_processors_compute_faster_is_hinted_at(
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: Literal["bfloat16", "float32", "float64"],
    able: bool,
    hint: str,
) -> None:
    monkeypatch.setattr(probe, "has_bfloat16", lambda: able)
    told = in_local_mode(prepared, tmp_path, TrainConfig(precision=precision))["processors"]
    assert (told.passed, told.hint) == (True, hint)


def test_tls_is_asked_of_what_trains_in_tasks(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = {"spark.ssl.enabled": "true"}
    monkeypatch.setattr(NoSpark.sparkContext, "getConf", lambda: conf)
    assert "encryption" not in in_local_mode(prepared, tmp_path, TrainConfig())

    def no_slots(*_: object) -> None:
        raise SlotsUnavailable("too few")

    monkeypatch.setattr(judging, "wait_for_slots", no_slots)
    monkeypatch.setattr(NoSpark.sparkContext, "master", "yarn", raising=False)

    def encryption() -> Check:
        dataset, run = Dataset.read(str(prepared / "dataset")), str(tmp_path / "run")
        return by_name(preflight(cast("Any", NoSpark), dataset, run, TWO, HURRY))["encryption"]

    assert not encryption().passed
    conf["tensorflow.spark.distributor.ignoreSsl"] = "true"
    assert encryption().passed
