from pathlib import Path

from pyspark.sql import SparkSession

from skinclf.spark.metadata import one_row_an_image, stage_metadata
from skinclf.spec.taxonomy import HAM10000


def test_rows_of_one_image_are_one_row_alike_or_conflicting(
    spark: SparkSession, tmp_path: Path
) -> None:
    text = "lesion_id,image_id,dx\nL1,I1,nv\nL1,I1,nv\nL2,I2,nv\nL2,I2,mel\nL3,I3\n"
    (tmp_path / "metadata.csv").write_text(text)
    found = stage_metadata(
        spark, str(tmp_path / "metadata.csv"), str(tmp_path / "staged"), HAM10000
    )
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
    found = stage_metadata(
        spark, str(tmp_path / "metadata.csv"), str(tmp_path / "staged"), HAM10000
    )
    assert (found.records, found.rows.count(), found.malformed.count()) == (0, 0, 0)
