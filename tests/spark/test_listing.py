from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from skinclf.archives import LISTING, Selection, check_paths, iter_images
from skinclf.config.schema import ArchiveConfig
from skinclf.errors import ArchiveError
from skinclf.spark import listing
from skinclf.spark.listing import ROW, listed_files, listed_rows
from tests.support.images import write_zip


def row(file: str, member: int | None = None, name: str = "") -> dict[str, object]:
    source = file if member is None else f"{file}!/{name}"
    return dict.fromkeys(LISTING.names) | {"source": source, "file": file, "member": member}


ROWS = [
    *(row("file:/b.zip", n, name) for n, name in enumerate(("x.jpg", "x.jpg", "x.jpg#2", "y.jpg"))),
    row("file:/c.jpg"),
    row("file:/a.jpg"),
    row("file:/c.jpg"),  # named twice
    row("file:/b.zip", 3, "y.jpg"),
]


@pytest.mark.parametrize("few_rows", [100, 3])
def test_a_listing_is_numbered_alike_by_the_driver_and_by_tasks(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_rows: int
) -> None:
    """Few rows the driver sorts itself."""
    monkeypatch.setattr(listing, "FEW_ROWS", few_rows)
    rows = [dict(row) for row in ROWS]
    frame, count = listed_files(spark, rows, ["archive"], str(tmp_path / "l"), DataFrame.persist)
    found = [(row[ROW], row["source"]) for row in frame.orderBy(ROW).collect()]
    assert count == 6
    assert found == [
        (0, "file:/a.jpg"),
        (1, "file:/b.zip!/x.jpg"),
        (2, "file:/b.zip!/x.jpg#2"),
        (3, "file:/b.zip!/x.jpg#2#1"),
        (4, "file:/b.zip!/y.jpg"),
        (5, "file:/c.jpg"),
    ]


def test_an_archive_without_files_is_named(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no files in archive"):
        listed_files(spark, [], ["archive"], str(tmp_path), DataFrame.persist)


def test_files_and_archives_that_a_table_names_are_listed_as_if_they_were_named(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_zip(tmp_path / "a.zip", {"x.jpg": b"1", "y.txt": b"2"})
    (tmp_path / "b.jpg").write_bytes(b"3")
    paths = [str(tmp_path / "a.zip"), str(tmp_path / "b.jpg")]
    table = spark.createDataFrame([(path,) for path in paths], "file string")
    table.createOrReplaceTempView("named")
    check_paths(["table:named"])
    by_table = listed_rows(spark, ArchiveConfig(), ("table:named",), (), Selection(["*.jpg"]))
    assert list(by_table) == list(iter_images(paths, (), Selection(["*.jpg"])))
    both = listed_rows(spark, ArchiveConfig(), ("table:named", paths[1]), (), Selection())
    assert len(list(both)) == 4
