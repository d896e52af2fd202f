"""All jobs on a real YARN and HDFS, whose nodes have only the packed environment.

The commands are those of docs/how-to/clusters.md: with other sizes, and paths of the test.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyspark
import pytest

from skinclf.storage import files
from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_manifest import read_manifest
from skinclf.testing.archive import METADATA, ZIPS, make_archive
from tests.support.cluster import FASTER, SMALL
from tests.support.documentation import PAGES, blocks_of
from tests.support.hadoop import JARS, Hadoop
from tests.support.images import jpeg
from tests.support.pipeline import weights
from tests.support.repository import REPOSITORY
from tests.support.training import EPOCHS, HARMED, Training, until

pytestmark = [
    pytest.mark.yarn,
    pytest.mark.skipif(not JARS.exists(), reason="needs Hadoop's jars: make test-yarn"),
]

ROOT = "hdfs:///skinclf"
SPARK = Path(str(pyspark.__file__)).parent
ENVIRONMENT = REPOSITORY / "dist" / "skinclf-env.tar.gz"

SMALLER = {
    "spark.executor.instances": 2,
    "spark.driver.memory": "512m",
    "spark.driver.memoryOverhead": "2g",
    "spark.executor.memory": "512m",
    "spark.executor.memoryOverhead": "2g",
    **SMALL,
    "spark.yarn.am.extraJavaOptions": FASTER,
    # Not into HDFS for each application.
    "spark.yarn.jars": f"local:{SPARK}/jars/*",
    "spark.yarn.submit.waitAppCompletion": "true",
    "spark.yarn.am.memory": "512m",
}
SETTINGS = {
    "archive.paths": json.dumps([f"{ROOT}/archive/{name}" for name in ZIPS]),
    "archive.metadata": f"{ROOT}/archive/{METADATA}",
    "dataset.path": f"{ROOT}/dataset",
    "dataset.shards": 4,
    "run.path": f"{ROOT}/run",
    "train.epochs": 2,
    "train.slots": 2,
    "train.local_mode": "false",
    "train.global_batch_size": 32,
    "train.dropout": 0.0,
    "evaluate.bootstrap_samples": 20,
    "score.output": f"{ROOT}/scores",
}


@pytest.fixture(scope="module")
def hadoop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hadoop]:
    """With an archive of 160 images and the environment in HDFS."""
    folder = tmp_path_factory.mktemp("hadoop")
    with Hadoop(folder) as hadoop, pytest.MonkeyPatch.context() as patch:
        for name, value in hadoop.environment.items():
            patch.setenv(name, value)
        make_archive(folder / "archive", 160)
        for file in [*(folder / "archive").iterdir(), ENVIRONMENT]:
            where = ROOT if file == ENVIRONMENT else f"{ROOT}/archive"
            with files.new_file(f"{where}/{file.name}") as out:
                out.write(file.read_bytes())
        yield hadoop


def documented(mode: str) -> list[str]:
    """The options of spark-submit that the documentation gives for a mode."""
    commands = [
        command.replace("\\\n", "")
        for command in blocks_of(PAGES["docs/how-to/clusters.md"], "sh")
        if command.startswith("$SPARK_HOME/bin/spark-submit --master yarn ")
    ]
    (command,) = [command for command in commands if f"--deploy-mode {mode} " in command]
    _, *options = shlex.split(command.partition(" jobs/")[0])
    return options


def assignments(changes: dict[str, Any]) -> list[str]:
    """SETTINGS with `changes`, as a command line has them."""
    given = (SETTINGS | changes).items()
    return [word for key, value in given for word in ("--set", f"{key}={value}")]


def command(job: str, mode: str, changes: dict[str, Any]) -> list[str]:
    options = [
        word.replace(".venv/bin/python", sys.executable).replace("conf/", f"{REPOSITORY}/conf/")
        for word in documented(mode)
    ]
    sizes = (word for key, value in SMALLER.items() for word in ("--conf", f"{key}={value}"))
    script = str(REPOSITORY / "jobs" / f"{job}.py")
    return ["spark-submit", *options, *sizes, script, *assignments(changes)]


def submit(
    hadoop: Hadoop, job: str, mode: str, changes: dict[str, Any] | None = None, status: int = 0
) -> str:
    """Run a job, and return what it said, wherever its driver ran."""
    done = subprocess.run(
        command(job, mode, changes or {}), capture_output=True, text=True, check=False
    )
    told = done.stdout + done.stderr
    if mode == "cluster":
        (application,) = set(re.findall(r"application_\d+_\d+", told))
        told += hadoop.logs_of(application)
    assert done.returncode == status, told[-6000:]
    return told


def prepare_once(hadoop: Hadoop) -> None:
    if not files.exists(f"{ROOT}/dataset/dataset.json"):
        submit(hadoop, "prepare", "cluster")


def test_a_dataset_is_prepared_and_explored_and_the_cluster_is_checked(hadoop: Hadoop) -> None:
    prepare_once(hadoop)
    manifest = files.read_json(f"{ROOT}/dataset/dataset.json")
    assert manifest["tensors"] + sum(manifest["rejects"].values()) == manifest["inputs"]
    submit(hadoop, "explore", "client")
    assert files.exists(f"{ROOT}/dataset/exploration/exploration.html")
    assert "2 workers reach each other" in submit(hadoop, "doctor", "client")


class YarnTraining(Training):
    """A training whose driver is an application master, and whose run is in HDFS."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "training.log"
        self._command = command("train", "cluster", HARMED)
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = f"{ROOT}/run/{name}"
        text = files.read_text(path) if files.exists(path) else ""
        return [json.loads(line) for line in text.splitlines()]


def test_a_training_survives_the_loss_of_a_container_and_of_its_driver(
    hadoop: Hadoop, tmp_path: Path
) -> None:
    """YARN starts the application master again, and training resumes from its last checkpoint."""
    prepare_once(hadoop)
    training = YarnTraining(tmp_path)
    training.wait_for_epochs(3)
    os.kill(hadoop.containers("CoarseGrainedExecutorBackend")[0], signal.SIGKILL)
    training.wait_for_restart(1)
    os.kill(hadoop.containers("ApplicationMaster")[0], signal.SIGKILL)
    assert len(training.epochs()) < EPOCHS
    assert training.finish() == 0, training.told()
    assert training.epochs() == list(range(1, EPOCHS + 1))
    assert all(restart["cause"] for restart in training.restarts())
    until(lambda: not hadoop.containers("CoarseGrainedExecutorBackend"), training.told)

    quiet = {"run.path": f"{ROOT}/quiet", "spark.master": "local[2]"}
    subprocess.run(["skinclf", "train", *assignments(HARMED | quiet)], check=True)
    assert np.array_equal(weights(fetched("run", tmp_path)), weights(fetched("quiet", tmp_path)))


def fetched(run: str, folder: Path) -> Path:
    """A local folder with the model of a run in HDFS."""
    (folder / run).mkdir()
    (folder / run / "model.keras").write_bytes(files.read_bytes(f"{ROOT}/{run}/model.keras"))
    return folder / run


def test_a_model_is_evaluated_and_scores_each_image_once_though_containers_are_lost(
    hadoop: Hadoop, tmp_path: Path
) -> None:
    if not files.exists(f"{ROOT}/run/model.keras"):
        prepare_once(hadoop)
        submit(hadoop, "train", "cluster")
    submit(hadoop, "evaluate", "cluster")
    assert files.exists(f"{ROOT}/run/evaluation/test/report.html")
    for number in range(200):
        image = jpeg((number, 60, 50), (120, 90))
        files.write_bytes(f"{ROOT}/many/IMG_{number:03}.jpg", image, durable=False)
    changes = {
        "score.archive": json.dumps([f"{ROOT}/many"]),
        "score.micro_batch_images": 20,
    }
    log = tmp_path / "score.log"
    with log.open("wb") as out:
        job = subprocess.Popen(command("score", "cluster", changes), stdout=out, stderr=out)
    for word in ("CoarseGrainedExecutorBackend", "ApplicationMaster"):
        until(lambda: scored() > 0, log.read_text)
        running = partial(hadoop.containers, word)
        until(running, log.read_text)
        os.kill(running()[0], signal.SIGKILL)
    until(lambda: job.poll() is not None, log.read_text)
    assert job.returncode == 0, log.read_text()[-5000:]
    assert outcome() == (200, {})
    files.write_bytes(f"{ROOT}/many/IMG_999.jpg", jpeg((90, 60, 50), (120, 90)))
    assert "1 inputs are new" in submit(hadoop, "score", "client", changes)
    assert outcome() == (201, {})


def scored() -> int:
    """How many images have a committed score."""
    folders = files.list_names(f"{ROOT}/scores")
    found = [read_manifest(ScoreFolder(f"{ROOT}/scores/{name}")) for name in folders]
    return sum(manifest.done for manifest in found)


def outcome() -> tuple[int, dict[str, int]]:
    """What summary.json counts: scores, and rejects by reason."""
    (model,) = files.list_names(f"{ROOT}/scores")
    summary = files.read_json(f"{ROOT}/scores/{model}/summary.json")
    return summary["scored"], summary["rejects"]


def test_a_wrong_setting_is_told_and_fails_the_application(hadoop: Hadoop) -> None:
    """In cluster mode spark-submit itself ends with 1 whatever its driver ended with."""
    wrong = {"train.epoch": 3}
    assert "no such setting" in submit(hadoop, "train", "client", wrong, status=2)
    assert "no such setting" in submit(hadoop, "train", "cluster", wrong, status=1)
