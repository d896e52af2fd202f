"""Workers with network addresses of their own, one of which is cut off."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_manifest import read_manifest
from tests.support.cluster import Cluster
from tests.support.namespaces import Namespaces, why_not
from tests.support.pipeline import pipeline_assignments, weights
from tests.support.training import EPOCHS, Training, until

pytestmark = pytest.mark.faults

SETTINGS = (
    "spark.conf.spark.network.timeout=20s",  # else a silent machine is given up after two minutes
    "spark.conf.spark.network.timeoutInterval=5s",
    "spark.conf.spark.executor.heartbeatInterval=4s",
    "fault_tolerance.ports=41000-41099",
)


@pytest.fixture(scope="module")
def network() -> Iterator[Namespaces]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with Namespaces(workers=2) as network:
        yield network


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, network: Namespaces) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("apart"), network=network) as cluster:
        yield cluster


def test_a_worker_that_is_cut_off_in_training_and_comes_back(
    network: Namespaces, apart: Cluster, prepared: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    """The run ends with the weights of one that nothing happened to."""
    training = Training(prepared, tmp_path / "run", apart.master, *SETTINGS, *driver_at(network))
    training.wait_for_epochs(3)
    network.cut(1)
    try:
        training.wait_until(lambda: len(training.restarts()) == 1)
    finally:
        network.mend(1)
    assert training.finish() == 0, training.told()
    assert training.epochs() == list(range(1, EPOCHS + 1))
    assert np.array_equal(weights(training.run), weights(uninterrupted))


def test_a_worker_that_is_cut_off_in_scoring(
    trained: Path, network: Namespaces, apart: Cluster, tmp_path: Path
) -> None:
    """It does not come back: the other does its work, and each image stands once."""
    settings = [
        *pipeline_assignments(trained),
        *SETTINGS,
        *driver_at(network),
        f"spark.master={apart.master}",
        f"score.output={tmp_path / 'scores'}",
        "score.micro_batch_images=20",
    ]
    words = (word for setting in settings for word in ("--set", setting))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["skinclf", "score", *words], stdout=log, stderr=log)

    def told() -> str:
        return (tmp_path / "log").read_text()[-5000:]

    def begun() -> bool:
        folders = [ScoreFolder(str(path)) for path in tmp_path.glob("scores/*")]
        return any(read_manifest(folder).done >= 40 for folder in folders)

    until(lambda: begun() or process.poll() is not None, told)
    network.cut(0)
    try:
        until(lambda: process.poll() is not None, told)
    finally:
        network.mend(0)
    assert process.returncode == 0, told()
    (folder,) = (tmp_path / "scores").iterdir()
    scored = pq.read_table(folder / "scores", columns=["source"])["source"].to_pylist()
    rejected = pq.read_table(folder / "rejects", columns=["source"])["source"].to_pylist()
    assert len(scored + rejected) == len(set(scored + rejected)) >= 160


def driver_at(network: Namespaces) -> list[str]:
    keys = ("spark.driver.host", "spark.driver.bindAddress")
    return [f"spark.conf.{key}={network.master}" for key in keys]
