"""Scores in a table of Spark's catalog, and images that a table names."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from skinclf.errors import ArchiveError, CheckError, ConfigError
from skinclf.spark.score_table import ScoreTable
from skinclf.storage import score_ledger
from skinclf.storage.score_view import read_scores
from tests.support.score_tables import Ended, end_after, rows
from tests.support.scoring import Scoring

TABLE = "score.table=scores_of_a_test"
NAME = TABLE.partition("=")[2]
TWO = "score.micro_batch_images=2"


@pytest.fixture
def archive(tmp_path: Path, spark: SparkSession) -> Iterator[Scoring]:
    yield Scoring(tmp_path)
    spark.sql(f"DROP TABLE IF EXISTS {NAME}")


def test_the_table_is_the_folder_s_scores_after_each_job(
    archive: Scoring, spark: SparkSession
) -> None:
    archive.write(1, 2, 3, 4, 5)
    first = archive.score(TABLE, TWO)
    before = rows(spark.table(NAME))
    assert before == rows(read_scores(first.path))
    assert len(before) == 5

    archive.write(3, shade=250)
    archive.write(6)
    (archive.folder / "IMG_004.jpg").write_bytes(b"broken")
    second = archive.score(TABLE, TWO)
    after = rows(spark.table(NAME))
    assert after == rows(read_scores(second.path))
    changed = {row[1] for row in set(before) ^ set(after)}
    assert changed == {"IMG_003", "IMG_004", "IMG_006"}


def test_a_table_that_is_named_later_has_all(archive: Scoring, spark: SparkSession) -> None:
    archive.write(1, 2)
    archive.score()
    archive.score(TABLE)
    assert {row[1] for row in rows(spark.table(NAME))} == {"IMG_001", "IMG_002"}


def test_a_folder_whose_name_spark_hides_has_a_table_too(
    archive: Scoring, spark: SparkSession, tmp_path: Path
) -> None:
    """In what it says of tables, it hides what has "url" or "token" in it."""
    archive.write(1)
    output = f"score.output={tmp_path / 'curl-token'}"
    archive.score(TABLE, output)
    archive.write(2)
    archive.score(TABLE, output)
    assert {row[1] for row in rows(spark.table(NAME))} == {"IMG_001", "IMG_002"}


@pytest.mark.parametrize("moment", ["write_parquet", "move", "write_manifest", "follow"])
def test_a_job_that_ends_at_any_moment_leaves_a_table_that_the_next_one_completes(
    moment: str, archive: Scoring, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.write(1, 2, 3, 4)
    place = ScoreTable if moment == "follow" else score_ledger
    with monkeypatch.context() as patch:
        end_after(patch, place, moment, 2)
        with pytest.raises(Ended):
            archive.score(TABLE, TWO)
    found = [row[1] for row in rows(spark.table(NAME))]
    assert len(found) == len(set(found))
    done = archive.score(TABLE, TWO)
    assert rows(spark.table(NAME)) == rows(read_scores(done.path))
    assert done.scored == 4


def test_rows_that_are_missing_are_noticed_by_the_closing_count(
    archive: Scoring, spark: SparkSession
) -> None:
    archive.write(1, 2)
    archive.score(TABLE)
    spark.sql(f"ALTER TABLE {NAME} SET LOCATION '{archive.folder.parent / 'elsewhere'}'")
    with pytest.raises(CheckError, match=r"score\.table=.* has 0 rows, but .*scores has 2"):
        archive.score(TABLE)


def test_a_table_that_can_t_be_used_is_refused_before_an_image_is_read(
    archive: Scoring, spark: SparkSession, tmp_path: Path
) -> None:
    spark.range(1).createOrReplaceTempView("a_view")
    archive.write(1)
    for settings, told in (
        (["score.table=nowhere.scores"], r"score\.table=nowhere\.scores: .*SCHEMA_NOT_FOUND"),
        (["score.table=a.b.scores"], r"score\.table=a\.b\.scores: "),
        (["score.table=a_view"], r"a_view: exists, and is the table of something else, not of"),
        ([TABLE, "score.table_format=delta"], "Failed to find the data source: delta"),
    ):
        with pytest.raises(ConfigError, match=told) as caught:
            archive.score(*settings)
        assert "\n" not in str(caught.value)
        assert not list((tmp_path / "scores").glob("*/manifests"))


def test_the_table_of_another_model_or_format_is_refused(
    archive: Scoring, spark: SparkSession, tmp_path: Path
) -> None:
    archive.write(1)
    path = archive.score(TABLE).path
    with pytest.raises(ConfigError, match=f"is the table of {path}, not of .*Name another one"):
        archive.score(TABLE, "score.precision=bfloat16")
    with pytest.raises(ConfigError, match=r"score\.table_format and model: part\. Drop it"):
        archive.score(TABLE, "score.table_format=delta")


def test_a_catalog_that_ends_with_the_session_is_told(
    archive: Scoring, caplog: pytest.LogCaptureFixture
) -> None:
    archive.write(1)
    with caplog.at_level(logging.WARNING):
        archive.score(TABLE)
    assert "this session's catalog is in memory" in caplog.text


def test_images_that_a_table_names_are_scored(archive: Scoring, spark: SparkSession) -> None:
    archive.write(1, 2, 3)
    named = [str(archive.folder / "IMG_001.jpg"), (archive.folder / "IMG_003.jpg").as_uri()]
    gone = str(archive.folder / "gone.jpg")
    paths = [(path,) for path in (*named, named[0], gone, None, "")]
    spark.createDataFrame(paths, "path string").createOrReplaceTempView("a_list")
    first = archive.score("score.archive=table:a_list")
    assert (first.inputs, first.scored, first.rejects) == (3, 2, {"vanished": 1})
    archive.write(3, shade=250)
    assert archive.score("score.archive=table:a_list").changed == 1


def test_a_table_of_images_that_can_t_be_used_is_told(
    archive: Scoring, spark: SparkSession
) -> None:
    archive.write(1)
    spark.range(1).createOrReplaceTempView("no_list")
    for settings, told in (
        (["score.archive=table:nowhere"], "table:nowhere: can't be read: .*cannot be found"),
        (["score.archive=table:no_list"], "table:no_list: has the columns id; .*one of uri, path"),
        (["score.archive=table:no_list", "archive.reader=spark"], r'archive\.reader = "spark"'),
    ):
        with pytest.raises(ArchiveError, match=told) as caught:
            archive.score(*settings)
        assert "\n" not in str(caught.value)
