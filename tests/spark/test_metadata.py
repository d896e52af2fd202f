from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from skinclf.archives.labelled import LabelledArchive
from skinclf.config.schema import ArchiveConfig, MetadataConfig
from skinclf.spark.metadata import (
    METADATA,
    folder_metadata,
    one_row_an_image,
    stage_metadata,
)
from skinclf.spec.taxonomy import HAM10000


def labelled(archive: ArchiveConfig) -> LabelledArchive:
    return LabelledArchive(archive, MetadataConfig(), HAM10000)


def test_rows_of_one_image_are_one_row_alike_or_conflicting(
    spark: SparkSession, tmp_path: Path
) -> None:
    text = "lesion_id,image_id,dx\nL1,I1,nv\nL1,I1,nv\nL2,I2,nv\nL2,I2,mel\nL3,I3\n"
    (tmp_path / "metadata.csv").write_text(text)
    archive = ArchiveConfig(metadata=str(tmp_path / "metadata.csv"))
    found = stage_metadata(spark, labelled(archive), str(tmp_path / "staged"))
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
    found = stage_metadata(spark, labelled(archive), str(tmp_path / "staged"))
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
    found = stage_metadata(spark, labelled(archive), str(tmp_path / "staged"))
    lesions = {row.image_id: row.lesion_id for row in found.rows.collect()}
    assert lesions == {"I1": "L1", "I2": "L1", "I3": "L1", "I4": "I4", "I5": "I4"}
    assert found.merged == {"L1": "L1", "L2": "L1", "I4": "I4", "L5": "I4"}
    assert "2 of its ids are in no row of the metadata, such as I8" in caplog.text
    assert "no row has a lesion_id" not in caplog.text


def test_a_table_may_have_no_lesions(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metadata.csv").write_text("image_id,dx\nI1,nv\nI2,mel\n")
    archive = ArchiveConfig(metadata=str(tmp_path / "metadata.csv"))
    found = stage_metadata(spark, labelled(archive), str(tmp_path / "staged"))
    rows = {row.image_id: (row.dx, row.lesion_id) for row in found.rows.collect()}
    assert rows == {"I1": ("nv", None), "I2": ("mel", None)}
    assert "metadata.csv: no row has a lesion_id" in caplog.text


def test_the_folder_of_an_image_is_its_diagnosis(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "same.csv").write_text("a/nv/1,a/nv/2\nI7,I8\n")
    archive = ArchiveConfig(metadata="folders", same_lesion=str(tmp_path / "same.csv"))
    own = MetadataConfig(labels={"Naevi": "NV"})
    ids = ["naevi/1", "a/nv/1", "a/nv/2", "b/NV/1", "Melanoma/1", "a/wart/1", "1", "b/NV/1"]
    ids += ["a/bcc/I7", "b/bcc/I8"]  # a list may name files without their folders
    listed = spark.createDataFrame([(name,) for name in ids], "image_id string")
    found = folder_metadata(listed, LabelledArchive(archive, own, HAM10000))
    assert (found.records, found.malformed.count()) == (9, 0)
    assert found.rows.columns == stage_names()
    rows = {row.image_id: (row.dx, row.lesion_id) for row in found.rows.collect()}
    assert rows == {
        "naevi/1": ("nv", None),
        "a/nv/1": ("nv", "a/nv/1"),
        "a/nv/2": ("nv", "a/nv/1"),
        "b/NV/1": ("nv", None),
        "Melanoma/1": ("mel", None),
        "a/wart/1": ("wart", None),
        "1": (None, None),
        "a/bcc/I7": ("bcc", "a/bcc/I7"),
        "b/bcc/I8": ("bcc", "a/bcc/I7"),
    }


def stage_names() -> list[str]:
    return [name for name in METADATA.names if name != "malformed"]
