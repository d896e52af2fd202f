"""The jobs by spark-submit, on one machine and on a cluster of two workers."""

import subprocess
import sys
from pathlib import Path

import pytest

from skinclf.testing.archive import make_archive
from tests.support.cluster import Cluster
from tests.support.pipeline import pipeline_assignments
from tests.support.repository import REPOSITORY

JOBS = {
    "prepare": "dataset/dataset.json",
    "explore": "dataset/exploration/exploration.html",
    "doctor": "dataset/dataset.json",  # leaves nothing of its own
    "train": "run/model.keras",
    "evaluate": "run/evaluation/test/report.html",
    "score": "scores/*/summary.json",
}


FASTER = (  # to start
    *("--conf", "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1"),
    *("--conf", "spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1"),
)


def test_the_jobs_run_on_one_machine(tmp_path: Path) -> None:
    """Those that start more than a Spark job; the demo runs them all in local mode."""
    run_jobs(["--master", "local[2]"], tmp_path, ("prepare", "doctor", "train"))


@pytest.mark.faults
def test_the_jobs_run_on_a_cluster_that_has_only_the_packed_environment(tmp_path: Path) -> None:
    """Executors have no Python but the archive's: the workers' own settings name none."""
    subprocess.run(["make", "dist/skinclf-env.tar.gz"], cwd=REPOSITORY, check=True)
    with Cluster(tmp_path, python="/nowhere/python") as cluster:
        options = [
            *("--master", cluster.master),
            *("--archives", f"{REPOSITORY}/dist/skinclf-env.tar.gz#environment"),
            *("--conf", "spark.pyspark.python=./environment/bin/python"),
            *("--conf", f"spark.pyspark.driver.python={sys.executable}"),
        ]
        # Each job unpacks it three times, for the driver, too; train looks at all that doctor does.
        run_jobs(options, tmp_path, tuple(job for job in JOBS if job != "doctor"))


def run_jobs(options: list[str], tmp_path: Path, jobs: tuple[str, ...]) -> None:
    make_archive(tmp_path / "archive", 160)
    # Relative paths: an executor, which runs in another folder, has to mean the same by them.
    settings = [*pipeline_assignments(Path()), "train.slots=2", "train.local_mode=false"]
    for job in jobs:
        done = subprocess.run(
            [
                *("spark-submit", *options, "--driver-memory", "1g"),
                *("--properties-file", str(REPOSITORY / "conf" / "spark-defaults.conf")),
                *FASTER,
                str(REPOSITORY / "jobs" / f"{job}.py"),
                *(word for setting in settings for word in ("--set", setting)),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
        assert list(tmp_path.glob(JOBS[job]))
        if job == "doctor":
            assert "2 workers reach each other" in done.stdout
            assert not (tmp_path / "run").exists()
        if job == "train":
            assert "epoch   2/2" in done.stdout  # where spark-submit sends all of Python's output


def test_a_wrong_setting_ends_spark_submit_with_status_2(tmp_path: Path) -> None:
    command = ["spark-submit", "--master", "local[1]", str(REPOSITORY / "jobs" / "train.py")]
    done = subprocess.run(
        [*command, "--set", "train.epoch=3"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "train.epoch: there is no such setting; did you mean epochs?" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
