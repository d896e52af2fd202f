"""Jobs by spark-submit, on one machine and on a cluster. They differ in one word: test_cli.py."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster import SMALL, Cluster
from tests.support.pipeline import pipeline_assignments
from tests.support.repository import REPOSITORY

OPTIONS = [word for key, value in SMALL.items() for word in ("--conf", f"{key}={value}")]
ENCRYPTED = {
    "spark.authenticate": "true",
    "spark.authenticate.secret": "of-this-test-alone",
    "spark.network.crypto.enabled": "true",
}
"""What docs/explanation/security.md recommends for a standalone cluster."""


def submit(job: str, options: list[str], folder: Path) -> str:
    """Run a job over what lies in `folder`, with two slots, and return what it printed.

    Paths are relative: an executor, which runs in another folder, has to mean the same by them.
    """
    settings = [*pipeline_assignments(Path()), "train.slots=2", "train.local_mode=false"]
    done = subprocess.run(
        [
            *("spark-submit", *options, "--driver-memory", "1g"),
            *("--properties-file", str(REPOSITORY / "conf" / "spark-defaults.conf")),
            *OPTIONS,
            str(REPOSITORY / "jobs" / f"{job}.py"),
            *(word for setting in settings for word in ("--set", setting)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def test_a_job_and_a_barrier_stage_run_on_one_machine(prepared: Path, tmp_path: Path) -> None:
    """The rest: below, on a cluster. The demo runs all but doctor in one process."""
    shutil.copytree(prepared / "dataset", tmp_path / "dataset")
    local = ["--master", "local[2]"]
    submit("explore", local, tmp_path)
    assert (tmp_path / "dataset" / "exploration" / "exploration.html").exists()
    assert "2 workers reach each other" in submit("doctor", local, tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.faults
def test_training_runs_where_there_is_only_the_packed_environment(
    prepared: Path, tmp_path: Path
) -> None:
    """Executors have no Python but the archive's: the workers' own settings name none.

    A job unpacks 1.7 GB for every executor and for the driver, so one executor with two cores has
    to do; all jobs run in that environment on YARN, which unpacks it once. All processes
    authenticate each other and encrypt what Spark sends.
    """
    subprocess.run(["make", "dist/skinclf-env.tar.gz"], cwd=REPOSITORY, check=True)
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    with Cluster(tmp_path, workers=1, cores=2, python="/nowhere/python", conf=ENCRYPTED) as cluster:
        options = [
            *cluster.options,
            *("--archives", f"{REPOSITORY}/dist/skinclf-env.tar.gz#environment"),
            *("--conf", "spark.pyspark.python=./environment/bin/python"),
            *("--conf", f"spark.pyspark.driver.python={sys.executable}"),
        ]
        told = submit("train", options, tmp_path)
        assert "epoch   2/2" in told  # where spark-submit sends all of Python's output
        assert (tmp_path / "run" / "model.keras").exists()
    assert "authentication enabled" in (tmp_path / "master.log").read_text()


def failed(job: str, options: list[str], folder: Path) -> tuple[int, str]:
    """The status and the output of a job that fails."""
    command = ["spark-submit", "--master", "local[1]", *OPTIONS]
    done = subprocess.run(
        [*command, str(REPOSITORY / "jobs" / f"{job}.py"), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout


def test_a_wrong_setting_ends_spark_submit_with_status_2(tmp_path: Path) -> None:
    status, told = failed("train", ["--set", "train.epoch=3"], tmp_path)
    assert status == 2
    assert "train.epoch: there is no such setting; did you mean epochs?" in told


@pytest.mark.faults
def test_an_archive_without_a_good_image_ends_spark_submit_with_status_3(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"no image")
    (tmp_path / "rows.csv").write_text("lesion_id,image_id,dx\nL1,a,nv\n")
    status, told = failed("prepare", ["--archive", "images", "--metadata", "rows.csv"], tmp_path)
    assert status == 3
    assert "none of 1 inputs became a tensor (1 unreadable)" in told
