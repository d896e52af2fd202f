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


def test_a_job_with_a_barrier_stage_runs_on_one_machine(prepared: Path, tmp_path: Path) -> None:
    """Training: below, on a cluster. The others: yarn/test_yarn.py."""
    shutil.copytree(prepared / "dataset", tmp_path / "dataset")
    assert "2 workers reach each other" in submit("doctor", ["--master", "local[2]"], tmp_path)
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


def test_a_wrong_setting_ends_spark_submit_with_its_own_status(tmp_path: Path) -> None:
    command = ["spark-submit", "--master", "local[1]", *OPTIONS]
    job = [str(REPOSITORY / "jobs" / "train.py"), "--set", "train.epoch=3"]
    done = subprocess.run(
        [*command, *job], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert "train.epoch: there is no such setting; did you mean epochs?" in done.stdout
