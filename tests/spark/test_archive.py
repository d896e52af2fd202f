"""Files that Spark itself reads."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from skinclf.archives import LISTING, Selection
from skinclf.errors import ArchiveError
from skinclf.spark.archive import (
    _is_within,
    _place,
    archive_contents,
    outermost,
    spark_images,
    with_contents,
    with_contents_of,
)
from skinclf.spark.versions import frame_of, lists_hidden_names

MOST = 2**20
"""Bytes; more than any file here has."""

STRANGE = "[1] {a,b} * ? % # é ' \\"


def listing_of(spark: SparkSession, *paths: Path) -> DataFrame:
    rows = spark_images(spark, [str(path) for path in paths], [], Selection())
    return frame_of(spark, pa.Table.from_pylist(list(rows), schema=LISTING))


def contents(frame: DataFrame) -> dict[str, bytes | None]:
    found = frame.select("source", "content").collect()
    assert len(found) == len({row["source"] for row in found})
    return {
        row["source"].rpartition("/")[2]: row["content"] and bytes(row["content"]) for row in found
    }


def test_archives_are_rejects_whatever_is_included(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.zip", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    selection = Selection(include=["*.jpg"])
    rows = list(spark_images(spark, [str(tmp_path)], [], selection))
    reasons = {row["image_id"]: row["reason"] for row in rows}
    assert reasons == {"a": None, "b": "unsupported"}
    assert selection.summaries() == ["left out 1 files that archive.include does not name"]


def files_read(frame: DataFrame) -> int:
    """How many files Spark's plan reads, after it has looked at their names."""
    frame.collect()
    plan = frame._jdf.queryExecution().executedPlan()  # type: ignore[operator]
    return int(plan.collectLeaves().apply(0).metrics().apply("numFiles").value())


def test_all_files_get_their_contents_whatever_their_names(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Each once, though a path is named twice and lies below another."""
    folder = tmp_path / STRANGE / "below"
    folder.mkdir(parents=True)
    (tmp_path / "1 a").mkdir()  # a pattern would match it
    names = {f"{n} {STRANGE}": f"{n}".encode() for n in range(5)}
    for name, content in names.items():
        (folder / name).write_bytes(content)
    paths = [str(folder.parent), str(folder), f"{folder}/"]
    assert contents(with_contents(listing_of(spark, folder.parent), paths, MOST)) == names


def test_names_that_spark_hides_are_listed_and_what_is_left_out_is_not(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`_DSC1234.JPG` is how cameras call a photograph in Adobe RGB."""
    for name in ("_DSC1.JPG", ".a.jpg", "b.jpg", "Rejected/c.jpg", "_d/e.jpg", "scores/f.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "old.zip").write_bytes(b"PK")
    selection = Selection(exclude=["rejected", tmp_path.name.lower()])
    rows = list(spark_images(spark, [str(tmp_path)], [str(tmp_path / "scores")], selection))
    found = {row["source"].removeprefix(f"file:{tmp_path}/") for row in rows}
    hidden = {"_DSC1.JPG", ".a.jpg", "_d/e.jpg"} if lists_hidden_names(spark) else set()
    assert found == {"b.jpg", "old.zip", *hidden}
    closed = [row["image_id"] for row in rows if row["reason"] == "unsupported"]
    assert closed == ["old"]
    assert ("does not list files" in caplog.text) == (not hidden)
    assert selection.left_out == {"rejected": 1}
    frame = frame_of(spark, pa.Table.from_pylist(rows, schema=LISTING))
    assert None not in contents(with_contents(frame, [str(tmp_path)], MOST)).values()


def test_an_archive_within_the_folder_that_a_job_writes_to_is_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    listing = spark_images(spark, [str(tmp_path / "photographs")], [str(tmp_path)], Selection())
    with pytest.raises(ArchiveError, match=r"photographs: lies in .*no part of the archive"):
        next(iter(listing))


@pytest.mark.parametrize(
    ("place", "folder", "is_within"),
    [
        ("hdfs://name:8020/data/a.jpg", "hdfs:///data", True),
        ("hdfs:///data/a.jpg", "hdfs://name:8020/data", True),
        ("hdfs:///data/a.jpg", "hdfs:///dat", False),
        ("wasbs://raw@account/photos", "abfss://scores@account.dfs.core.windows.net/", False),
        ("s3a://photos/a.jpg", "s3a://scores", False),
        ("s3a://photos/a.jpg", "s3a://photos/", True),
        ("hdfs:///data/scores/a.jpg", "file:///data/scores", False),
        ("file:/data/scores/a.jpg", "file:///data/scores", True),
    ],
)
def test_a_path_is_within_a_folder_of_the_same_storage_alone(
    place: str, folder: str, is_within: bool
) -> None:
    assert _is_within(_place(place), _place(folder)) == is_within


def test_of_a_micro_batch_only_its_files_are_read(spark: SparkSession, tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"{n:02} {STRANGE}").write_bytes(b"%d" % n)
    (tmp_path / "19 large").write_bytes(b"1" * 100)
    found = archive_contents(spark, [str(tmp_path)], max_file_bytes=99)
    listing = listing_of(spark, tmp_path)
    some = listing.where("substr(image_id, 1, 2) IN ('03', '11', '19')")
    files = [row["file"] for row in some.collect()]
    (tmp_path / f"11 {STRANGE}").unlink()
    assert contents(with_contents_of(some, found, files)) == {
        f"03 {STRANGE}": b"3",
        f"11 {STRANGE}": None,
        f"19 {STRANGE}": b"19",
        "19 large": None,
    }
    names = ", ".join("'{}'".format(file.replace("'", r"\'")) for file in files)
    assert files_read(found.where(f"file IN ({names})")) == 4


def test_an_archive_that_is_gone_by_now_has_no_contents(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    listing = listing_of(spark, tmp_path)
    (tmp_path / "a").unlink()
    tmp_path.rmdir()
    assert contents(with_contents(listing, [str(tmp_path)], MOST)) == {"a": None}
    tmp_path.mkdir()


def test_paths_below_others_are_left_out() -> None:
    paths = ["s3a://b/x/", "s3a://b/x/y", "s3a://b/x y", "s3a://b/x", "file:///", "file:///a"]
    assert outermost(paths) == ["file:///", "s3a://b/x", "s3a://b/x y"]
    assert outermost(["file:///a/b", "file:///a/c/d"]) == ["file:///a/b", "file:///a/c/d"]
