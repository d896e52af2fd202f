from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from skinclf.errors import MetadataError
from skinclf.tables.metadata import check_metadata_file, one_row_an_image, read_metadata

KAGGLE = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "metadata.csv"
    file.write_text(text)
    return str(file)


def test_kaggle_s_form_lacks_the_column_dataset(spark: SparkSession, tmp_path: Path) -> None:
    path = written(tmp_path, KAGGLE + "HAM_1,ISIC_1,nv,histo,45.0,male,back\n")
    (row,) = read_metadata(spark, path).collect()
    assert row.asDict() == {
        "lesion_id": "HAM_1",
        "image_id": "ISIC_1",
        "dx": "nv",
        "dx_type": "histo",
        "age": 45.0,
        "sex": "male",
        "localization": "back",
        "dataset": None,
    }


def test_columns_are_found_by_name_in_any_order(spark: SparkSession, tmp_path: Path) -> None:
    path = written(tmp_path, "dx,more,image_id,dataset,lesion_id\nmel,x,ISIC_2,rosendahl,HAM_2\n")
    (row,) = read_metadata(spark, path).collect()
    assert (row.dx, row.image_id, row.dataset, row.lesion_id) == (
        "mel",
        "ISIC_2",
        "rosendahl",
        "HAM_2",
    )


def test_an_age_that_is_empty_or_no_number_is_unknown(spark: SparkSession, tmp_path: Path) -> None:
    rows = "".join(f"L{n},I{n},nv,histo,{age},male,back\n" for n, age in enumerate(("", "old")))
    ages = [row.age for row in read_metadata(spark, written(tmp_path, KAGGLE + rows)).collect()]
    assert ages == [None, None]


def test_missing_columns_are_named_with_the_known_form(spark: SparkSession, tmp_path: Path) -> None:
    path = written(tmp_path, "isic_id,diagnosis_1\nISIC_1,Benign\n")
    with pytest.raises(MetadataError, match=r"no column lesion_id, image_id, dx; found isic_id"):
        read_metadata(spark, path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(MetadataError, match=r"nowhere\.csv: no such file"):
        check_metadata_file("nowhere.csv")
    with pytest.raises(MetadataError, match=r"archive\.metadata is empty"):
        check_metadata_file("")


def test_rows_of_one_image_are_one_row_alike_or_conflicting(spark: SparkSession) -> None:
    rows = [("I1", "L1", "nv"), ("I1", "L1", "nv"), ("I2", "L2", "nv"), ("I2", "L2", "mel")]
    frame = spark.createDataFrame(rows, "image_id string, lesion_id string, dx string")
    grouped = {row.image_id: row for row in one_row_an_image(frame).collect()}
    assert (grouped["I1"].metadata_rows, grouped["I1"].conflicting) == (2, False)
    assert (grouped["I2"].metadata_rows, grouped["I2"].conflicting) == (2, True)


def test_dataverse_s_form_of_ham10000(spark: SparkSession, ham10000: Path) -> None:
    metadata = read_metadata(spark, str(ham10000 / "HAM10000_metadata_dataverse.tab.csv"))
    assert metadata.count() == 10_015
    assert metadata.where("age IS NULL").count() == 57
    assert metadata.where("dataset IS NULL").count() == 0
