import io
import os
import sys
import zipfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.config.loader import load_config
from skinclf.config.schema import Config, SparkConfig
from skinclf.spark.session import spark_session
from skinclf.stages.prepare import prepare
from skinclf.stages.train import train
from skinclf.testing.archive import METADATA, ZIPS, make_archive
from tests.support.cluster import Cluster

# `skinclf` and `spark-submit` are those of the environment that runs the tests.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

REPOSITORY = Path(__file__).parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data"
"""HAM10000 (CC BY-NC 4.0), where a developer has it beside the checkout; never part of it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="fail where a test would be skipped: everything that tests need has to be there",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"--no-skips: {reason}"
    return report


@pytest.fixture(scope="session")
def sessions() -> Iterator[ExitStack]:
    """Holds the Spark session that all tests of this process share, and stops it at the end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def spark(sessions: ExitStack) -> SparkSession:
    """The shared session. A job that a test calls uses it, too, as a guest."""
    return shared_session(sessions)


def shared_session(sessions: ExitStack) -> SparkSession:
    """The session that runs, or a new one: for fixtures that outlive a test."""
    running = SparkSession.getActiveSession()
    if running is None:
        settings = SparkConfig(master="local[2]", driver_memory="1g")
        running = sessions.enter_context(spark_session("tests", settings))
    return running


@pytest.fixture
def own_session(sessions: ExitStack) -> None:
    """For jobs that need a session with settings of their own: the shared one is stopped."""
    sessions.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ham10000() -> Path:
    return _real("ham10000")


@pytest.fixture(scope="session")
def odd_images() -> Path:
    return _real("odd_images")


def _real(name: str) -> Path:
    folder = REAL_DATA / name
    if not folder.exists():
        pytest.skip(f"needs the real data in {folder}, which is not part of the repository")
    return folder


def jpeg(colour: tuple[int, int, int] = (200, 120, 90), size: tuple[int, int] = (60, 45)) -> bytes:
    """A plain JPEG; size is width x height."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    """An image file of an array."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory, sessions: ExitStack) -> Path:
    """A folder with a drawn archive of 160 images and the dataset of it, in four shards."""
    shared_session(sessions)
    folder = tmp_path_factory.mktemp("road")
    make_archive(folder / "archive", 160)
    prepare(road_config(folder), Console(quiet=True))
    return folder


@pytest.fixture(scope="session")
def trained(road: Path) -> Path:
    """The road with a run of two epochs, trained by one slot in this process."""
    train(road_config(road), Console(quiet=True))
    return road


def road_config(folder: Path, *assignments: str) -> Config:
    return load_config(None, [*road_assignments(folder), *assignments])


def road_assignments(folder: Path) -> list[str]:
    archive = folder / "archive"
    return [
        f'archive.paths=["{archive / ZIPS[0]}","{archive / ZIPS[1]}"]',
        f"archive.metadata={archive / METADATA}",
        f"dataset.path={folder / 'dataset'}",
        "dataset.shards=4",
        f"run.path={folder / 'run'}",
        f"score.path={folder / 'scores'}",
        *("train.epochs=2", "train.global_batch=32", "train.dropout=0", "evaluate.bootstrap=20"),
        *("spark.master=local[2]", "spark.driver_memory=1g"),
    ]


def weights(run: Path) -> np.ndarray:
    """All weights of a run's model in one row."""
    import keras  # here, so that tests of the Spark side need not wait for TensorFlow

    model = keras.models.load_model(run / "model.keras", compile=False)
    return np.concatenate([weight.ravel() for weight in model.get_weights()])
