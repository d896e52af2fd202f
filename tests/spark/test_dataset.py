import pytest
from pyspark.sql import SparkSession

from skinclf.errors import CheckError
from skinclf.spark.dataset import check_lesions_apart, check_nothing_lost, count_shared_files


def test_a_lesion_in_two_splits_is_named(spark: SparkSession) -> None:
    rows = [("HAM_1", "train"), ("HAM_1", "train"), ("HAM_2", "train"), ("HAM_2", "test")]
    with pytest.raises(CheckError, match="more than one split: HAM_2 "):
        check_lesions_apart(spark.createDataFrame(rows, "lesion_id string, split string"))


def test_lesions_apart_and_images_without_lesion_pass(spark: SparkSession) -> None:
    rows = [("HAM_1", "train"), ("HAM_2", "test"), (None, "train"), (None, "test")]
    check_lesions_apart(spark.createDataFrame(rows, "lesion_id string, split string"))


def test_a_word_for_unknown_that_joins_all_images_is_named(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("unknown", "train")] * 51 + [("HAM_1", "test")] * 50
    frame = spark.createDataFrame(rows, "lesion_id string, split string")
    check_lesions_apart(frame)
    assert "51 images have the lesion_id unknown: all of them are in one split." in caplog.text
    caplog.clear()
    check_lesions_apart(frame.where("lesion_id = 'HAM_1'"))
    assert not caplog.text


def test_a_file_in_two_splits_is_told(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("a", "train", "x"), ("b", "test", "x"), ("c", "val", "y"), ("d", "test", "y")]
    schema = "image_id string, split string, digest string"
    assert count_shared_files(spark.createDataFrame(rows[1:], schema)) == 0
    assert not caplog.text
    assert count_shared_files(spark.createDataFrame(rows, schema)) == 1
    assert "files in common, in number: 1, such as those of a and b." in caplog.text


def test_a_lost_row_is_counted() -> None:
    check_nothing_lost("dataset", 10, 8, {"empty": 2})
    with pytest.raises(CheckError, match=r"10 inputs but 7 tensors \+ 2 rejects = 9"):
        check_nothing_lost("dataset", 10, 7, {"empty": 2})
