import os
import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.spark.java import ensure_java
from skinclf.stages.prepare import prepare
from skinclf.stages.train import train
from skinclf.testing.archive import make_archive
from tests.support.pipeline import pipeline_config
from tests.support.repository import REAL_DATA
from tests.support.sessions import shared_session

# `skinclf` and `spark-submit` are those of the environment that runs the tests.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# On a machine without Java, also the processes that tests start have to find the packaged one.
ensure_java()


LONGEST_FIRST = (
    *("yarn/test_yarn.py", "test_jobs.py", "faults/test_training.py", "training/test_loop.py"),
    *("faults/test_network.py", "faults/test_scoring.py", "faults/test_object_store.py"),
    *("stages/test_hostile_inputs.py", "faults/test_wheel.py"),
    *("stages/test_train.py", "stages/test_prepare.py", "stages/test_evaluate.py"),
    *(
        "faults/test_tutorial.py",
        "test_demo.py",
        "faults/test_interruption.py",
        "stages/test_score.py",
    ),
    *("faults/test_connect.py", "stages/test_replicate.py", "stages/test_cross_validate.py"),
    *("spark/test_java.py", "faults/test_score_table.py", "spark/test_score_listing.py"),
    *("spark/test_splits.py", "reporting/test_mlflow_model.py", "reporting/test_tracking.py"),
)
"""Files of tests that two processes take first: the last long one alone would hold up the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


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


@pytest.fixture
def own_session(sessions: ExitStack) -> None:
    """For jobs that need a session with settings of their own: the shared one is stopped."""
    sessions.close()


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


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, sessions: ExitStack) -> Iterator[Path]:
    """A folder with a drawn archive of 160 images and the dataset of it, in four shards.

    No test may change it: who writes takes a copy.
    """
    shared_session(sessions)
    folder = tmp_path_factory.mktemp("prepared")
    make_archive(folder / "archive", 160)
    prepare(pipeline_config(folder), Console(quiet=True))
    with unchanged(folder):
        yield folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Iterator[Path]:
    """The same with a run of two epochs, trained by one slot in this process."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(prepared, folder, dirs_exist_ok=True)
    train(pipeline_config(folder), Console(quiet=True))
    with unchanged(folder):
        yield folder


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Fail where a file below `folder` is another after the tests than it was before them."""

    def files() -> set[tuple[str, int, int]]:
        found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
        return {(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found}

    before = files()
    yield
    changed = sorted({path for path, *_ in before ^ files()})
    assert changed == [], "a test has changed what others share; it has to take a copy"
