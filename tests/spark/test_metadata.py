from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from skinclf.config.schema import ArchiveConfig
from skinclf.spark.metadata import one_row_an_image, stage_metadata
from skinclf.spec.taxonomy import HAM10000


def test_rows_of_one_image_are_one_row_alike_or_conflicting(
    spark: SparkSession, tmp_path: Path
) -> None:
    text = "lesion_id,image_id,dx\nL1,I1,nv\nL1,I1,nv\nL2,I2,nv\nL2,I2,mel\nL3,I3\n"
    (tmp_path / "metadata.csv").write_text(text)
    archive = ArchiveConfig(metadata=str(tmp_path / "metadata.csv"))
    found = stage_metadata(spark, archive, str(tmp_path / "staged"), HAM10000)
    assert found.records == 5
    assert [tuple(row) for row in found.malformed.collect()] == [
        ("I3", "line 6: 2 fields, 3 expected")
    ]
    grouped = {row.image_id: row for row in one_row_an_image(found.rows).collect()}
    assert (grouped["I1"].metadata_rows, grouped["I1"].conflicting) == (2, False)
    assert (grouped["I2"].metadata_rows, grouped["I2"].conflicting) == (2, True)
    assert len(grouped) == 2


def test_a_header_alone_is_a_table_without_rows(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("lesion_id,image_id,dx\n")
    archive = ArchiveConfig(metadata=str(tmp_path / "metadata.csv"))
    found = stage_metadata(spark, archive, str(tmp_path / "staged"), HAM10000)
    assert (found.records, found.rows.count(), found.malformed.count()) == (0, 0, 0)


def test_lesions_that_are_one_get_one_id(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "lesion_id,image_id,dx\nL1,I1,nv\nL2,I2,nv\nL2,I3,nv\n,I4,nv\nL5,I5,nv\n"
    (tmp_path / "metadata.csv").write_text(text)
    (tmp_path / "same.csv").write_text("I1,I2\nI4,L5\nI9,I8\n")
    archive = ArchiveConfig(
        metadata=str(tmp_path / "metadata.csv"), same_lesion=str(tmp_path / "same.csv")
    )
    found = stage_metadata(spark, archive, str(tmp_path / "staged"), HAM10000)
    lesions = {row.image_id: row.lesion_id for row in found.rows.collect()}
    assert lesions == {"I1": "L1", "I2": "L1", "I3": "L1", "I4": "I4", "I5": "I4"}
    assert "2 of its ids are in no row of the metadata, such as I8" in caplog.text
