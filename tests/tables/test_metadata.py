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


@pytest.mark.parametrize("age", ["", "old", "NaN", "-1", "999", "Infinity"])
def test_an_age_that_is_no_number_of_years_is_unknown(
    spark: SparkSession, tmp_path: Path, age: str
) -> None:
    path = written(tmp_path, KAGGLE + f"L1,I1,nv,histo,{age},male,back\n")
    assert [row.age for row in read_metadata(spark, path).collect()] == [None]


def test_a_file_of_no_known_form_is_told_the_known_ones(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = written(tmp_path, "isic_id,dx\nISIC_1,nv\n")
    with pytest.raises(MetadataError, match=r"no known form: isic_id, dx\. Known forms") as error:
        read_metadata(spark, path)
    for name in ("HAM10000 (lesion_id, image_id, dx)", "ISIC archive export", "ISIC 2018"):
        assert name in str(error.value)


def test_isic_2018_s_ground_truth_has_a_column_a_class(spark: SparkSession, tmp_path: Path) -> None:
    header = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    rows = "I1,0.0,1.0,0.0,0.0,0.0,0.0,0.0\nI2,0,0,0,1,0,0,0\nI3,0,0,0,0,0,0,0\nI4,1,1,0,0,0,0,0\n"
    found = read_metadata(spark, written(tmp_path, header + rows)).orderBy("image_id").collect()
    assert [(row.image_id, row.dx) for row in found] == [
        ("I1", "nv"),
        ("I2", "akiec"),
        ("I3", None),
        ("I4", None),
    ]
    assert found[0].lesion_id is None


def test_the_isic_archive_s_export(spark: SparkSession, tmp_path: Path) -> None:
    text = (
        "isic_id,age_approx,anatom_site_general,diagnosis_1,diagnosis_2,diagnosis_3,"
        "diagnosis_confirm_type,lesion_id,sex\n"
        'I1,45,head/neck,Malignant,Malignant melanocytic proliferations (Melanoma),"Melanoma, NOS",'
        "histopathology,IL_1,male\n"
        "I2,,,Benign,Benign soft tissue proliferations - Vascular,,,IL_2,\n"
        "I3,30,,Malignant,Malignant something,Merkel cell carcinoma,,IL_3,\n"
    )
    found = read_metadata(spark, written(tmp_path, text)).orderBy("image_id").collect()
    assert [row.dx for row in found] == ["mel", "vasc", "Merkel cell carcinoma"]
    first = found[0]
    assert (first.lesion_id, first.age, first.sex) == ("IL_1", 45.0, "male")
    assert (first.localization, first.dx_type) == ("head/neck", "histo")


def test_the_isic_archive_and_ham10000_agree(spark: SparkSession, ham10000: Path) -> None:
    """Real rows: the same images in both forms have the same diagnosis and dx_type."""
    theirs = read_metadata(spark, str(ham10000 / "isic_archive_export_sample.csv"))
    ours = read_metadata(spark, str(ham10000 / "HAM10000_metadata.csv"))
    both = theirs.alias("a").join(ours.alias("b"), "image_id")
    assert both.count() == theirs.count() == 299
    assert both.where("a.dx <> b.dx OR a.dx_type <> b.dx_type").count() == 0


def test_a_file_with_tabs(spark: SparkSession, tmp_path: Path) -> None:
    path = written(tmp_path, KAGGLE.replace(",", "\t") + "L1\tI1\tdf\thisto\t9\tmale\tfoot\n")
    assert [(row.image_id, row.dx) for row in read_metadata(spark, path).collect()] == [
        ("I1", "df")
    ]


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
