"""Scores in a Delta table (make test-spark: Delta has no release for the newest Spark)."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from skinclf.config.schema import SparkConfig
from skinclf.errors import CheckError
from skinclf.spark.score_table import DeltaTable
from skinclf.spark.session import spark_session
from skinclf.storage import score_ledger
from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_manifest import read_manifest
from skinclf.storage.score_view import read_scores
from tests.support.score_tables import delta_settings, rows
from tests.support.scoring import Scoring

pytestmark = pytest.mark.delta

SETTINGS = ("score.table=scores", "score.table_format=delta", "score.micro_batch_images=2")


@pytest.fixture(scope="module")
def delta(sessions: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session with Delta, in which the jobs are guests."""
    conf = delta_settings()
    sessions.close()
    conf["spark.sql.warehouse.dir"] = str(tmp_path_factory.mktemp("warehouse"))
    settings = SparkConfig(master="local[2]", driver_memory="1g", conf=conf)
    with spark_session("tests", settings) as spark:
        yield spark


@pytest.fixture
def archive(tmp_path: Path, delta: SparkSession) -> Iterator[Scoring]:
    yield Scoring(tmp_path)
    delta.sql("DROP TABLE IF EXISTS scores")


def operations(spark: SparkSession) -> list[Any]:
    history = spark.sql("DESCRIBE HISTORY scores").orderBy("version")
    return [row["operation"] for row in history.collect()]


def test_each_commit_is_one_transaction_and_merged_files_and_changed_images_follow(
    archive: Scoring, delta: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_ledger, "MERGED_AT_ONCE", 3)
    archive.write(*range(8))
    first = archive.score(*SETTINGS)
    assert rows(delta.table("scores")) == rows(read_scores(first.path))
    assert operations(delta) == ["CREATE TABLE", *["WRITE"] * 5]  # four batches, the last merge
    archive.write(3, shade=250)
    archive.write(8)
    (archive.folder / "IMG_004.jpg").write_bytes(b"broken")
    second = archive.score(*SETTINGS)
    after = rows(delta.table("scores"))
    assert after == rows(read_scores(second.path))
    assert len(after) == second.scored == 8
    done = len(operations(delta))
    archive.score(*SETTINGS)
    assert len(operations(delta)) == done  # nothing new, nothing written


def test_what_a_job_that_lost_the_folder_writes_of_an_older_manifest_is_ignored(
    archive: Scoring, delta: SparkSession
) -> None:
    archive.write(1, 2)
    folder = ScoreFolder(archive.score(*SETTINGS).path)
    older = read_manifest(folder)
    archive.write(3)
    archive.score(*SETTINGS)
    before = rows(delta.table("scores"))
    DeltaTable(delta, "scores", folder).follow(older)
    assert rows(delta.table("scores")) == before
    assert len(before) == 3


def test_a_folder_that_was_removed_and_scored_anew_takes_the_table_over(
    archive: Scoring, delta: SparkSession
) -> None:
    archive.write(*range(6))
    shutil.rmtree(archive.score(*SETTINGS).path)
    (archive.folder / "IMG_005.jpg").unlink()
    again = archive.score(*SETTINGS)
    assert rows(delta.table("scores")) == rows(read_scores(again.path))
    assert again.scored == 5


def test_rows_that_somebody_else_deleted_are_noticed_and_a_dropped_table_is_made_anew(
    archive: Scoring, delta: SparkSession
) -> None:
    archive.write(1, 2, 3)
    archive.score(*SETTINGS)
    delta.sql("DELETE FROM scores WHERE image_id = 'IMG_001'")
    with pytest.raises(CheckError, match=r"has 2 rows, but .*scores has 3.*Drop the table"):
        archive.score(*SETTINGS)
    delta.sql("DROP TABLE scores")
    done = archive.score(*SETTINGS)
    assert rows(delta.table("scores")) == rows(read_scores(done.path))
