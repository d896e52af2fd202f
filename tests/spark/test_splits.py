from collections import Counter

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.config.schema import SplitConfig
from skinclf.errors import ConfigError
from skinclf.spark.splits import BUCKET_BITS, with_split


def images(spark: SparkSession, count: int, a_lesion: int = 3, code: str = "nv") -> DataFrame:
    """`count` photographs, `a_lesion` of them of each lesion."""
    rows = [(f"ISIC_{n:05}", f"HAM_{n // a_lesion}", code, n, None) for n in range(count)]
    columns = "image_id string, lesion_id string, dx string, first long, reason string"
    return spark.createDataFrame(rows, columns)


def counts_by_split(frame: DataFrame) -> dict[str, int]:
    return {row["split"]: row["count"] for row in frame.groupBy("split").count().collect()}


def test_photographs_of_one_lesion_share_a_split(spark: SparkSession) -> None:
    splits = with_split(images(spark, 300), SplitConfig())
    astray = splits.groupBy("lesion_id").agg(F.countDistinct("split").alias("n")).where("n > 1")
    assert astray.count() == 0


def test_splits_have_their_shares_of_each_class(spark: SparkSession) -> None:
    both = images(spark, 300).union(
        images(spark, 100, a_lesion=1, code="mel")
        .withColumn("image_id", F.concat(F.lit("m"), "image_id"))
        .withColumn("lesion_id", F.concat(F.lit("m"), "lesion_id"))
    )
    split = with_split(both, SplitConfig())
    assert counts_by_split(split.where("dx = 'nv'")) == {"train": 240, "val": 30, "test": 30}
    assert counts_by_split(split.where("dx = 'mel'")) == {"train": 80, "val": 10, "test": 10}


def test_by_image_is_the_paper_s_way_and_divides_lesions(spark: SparkSession) -> None:
    split = with_split(images(spark, 300), SplitConfig(by="image"))
    astray = split.groupBy("lesion_id").agg(F.countDistinct("split").alias("n")).where("n > 1")
    assert counts_by_split(split) == {"train": 240, "val": 30, "test": 30}
    assert astray.count() > 10


def test_the_draw_depends_on_the_seed_and_not_on_row_order(spark: SparkSession) -> None:
    def test_ids(frame: DataFrame, seed: int) -> set[str]:
        split = with_split(frame, SplitConfig(seed=seed)).where("split = 'test'")
        return {row.image_id for row in split.collect()}

    frame = images(spark, 300)
    shuffled = frame.orderBy(F.desc("image_id")).repartition(7)
    assert test_ids(frame, 1) == test_ids(shuffled, 1)
    assert test_ids(frame, 1) != test_ids(frame, 2)


def test_an_image_without_a_lesion_is_a_lesion_of_its_own(spark: SparkSession) -> None:
    frame = images(spark, 100).withColumn("lesion_id", F.lit(None).cast("string"))
    assert counts_by_split(with_split(frame, SplitConfig())) == {"train": 80, "val": 10, "test": 10}


def test_no_task_sorts_more_than_a_small_part_of_a_class(spark: SparkSession) -> None:
    """The window's partitions are what one task must hold."""
    bucket = F.shiftright(F.xxhash64(F.lit(2020), "lesion_id"), 64 - BUCKET_BITS)
    lesions = images(spark, 40_000, a_lesion=1).groupBy(bucket).count()
    assert lesions.agg(F.max("count")).first()[0] < 40_000 / 256  # type: ignore[index]


def test_the_draw_is_the_one_of_a_sort_of_the_whole_class(spark: SparkSession) -> None:
    """What a sort in one task would give: the first 80 % of the images by hash of their lesion."""
    frame = images(spark, 3000)
    hashed = frame.withColumn("hash", F.xxhash64(F.lit(2020), "lesion_id"))
    rows = hashed.orderBy("hash", "lesion_id", "image_id").collect()
    drawn = {row.image_id: row.split for row in with_split(frame, SplitConfig()).collect()}
    in_order = [drawn[row.image_id] for row in rows]
    assert in_order == ["train"] * 2400 + ["val"] * 300 + ["test"] * 300


def test_images_that_can_t_be_used_do_not_count(spark: SparkSession) -> None:
    frame = images(spark, 300, a_lesion=1)
    unlike = F.concat(F.lit("x"), "lesion_id")
    unusable = frame.withColumn("reason", F.lit("unknown_dx")).withColumn("lesion_id", unlike)
    missing = frame.withColumn("first", F.lit(None)).withColumn("lesion_id", unlike)
    split = with_split(frame.union(unusable).union(missing), SplitConfig())
    drawn = split.where("reason IS NULL AND first IS NOT NULL")
    assert counts_by_split(drawn) == {"train": 240, "val": 30, "test": 30}


def splits_of(frame: DataFrame, config: SplitConfig) -> dict[str, str]:
    """image_id → split."""
    return {row.image_id: row.split for row in with_split(frame, config).collect()}


def test_each_lesion_is_tested_in_one_fold_and_validates_in_at_most_one(
    spark: SparkSession,
) -> None:
    rare = images(spark, 7, a_lesion=1, code="df").withColumns(
        {name: F.concat(F.lit("d"), name) for name in ("image_id", "lesion_id")}
    )
    frame = images(spark, 300).union(rare)
    folds = [splits_of(frame, SplitConfig(folds=4, fold=fold)) for fold in (1, 2, 3, 4)]
    tested = Counter(name for fold in folds for name, split in fold.items() if split == "test")
    assert tested == dict.fromkeys(folds[0], 1)
    validates = Counter(name for fold in folds for name, split in fold.items() if split == "val")
    assert max(validates.values()) == 1
    for fold in folds:
        lesions = {(int(name[-5:]) // 3, split) for name, split in fold.items() if name[0] == "I"}
        assert len(lesions) == 100
        common = Counter(split for name, split in fold.items() if name[0] == "I")
        assert common == {"train": 201, "val": 24, "test": 75}  # of 225, 8 to 1


def test_the_last_of_ten_folds_is_the_split_without_folds(spark: SparkSession) -> None:
    frame = images(spark, 300)
    assert splits_of(frame, SplitConfig(folds=10, fold=10)) == splits_of(frame, SplitConfig())


def test_without_a_share_for_validation_folds_have_none(spark: SparkSession) -> None:
    config = SplitConfig(train=0.9, val=0, test=0.1, folds=3, fold=2)
    assert Counter(splits_of(images(spark, 300), config).values()) == {"train": 198, "test": 102}


def test_a_source_that_is_left_out_is_tested_and_its_lesions_are_not_trained_on(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Photographs 0 to 29 are of clinic A, 30 of B is of the lesion of 31 and 32 of C."""
    number = F.col("first")
    source = F.when(number < 30, "A").when(number < 31, "B").when(number < 299, "C")
    frame = images(spark, 300).withColumn("dataset", source)
    of_a = splits_of(frame, SplitConfig(left_out="A"))
    assert {name for name, split in of_a.items() if split == "test"} == {
        f"ISIC_{n:05}" for n in range(30)
    }
    assert Counter(of_a.values()) == {"test": 30, "train": 240, "val": 30}
    assert "1 images have no source and are trained on" in caplog.text
    of_b = splits_of(frame, SplitConfig(left_out="B"))
    assert {name for name, split in of_b.items() if split == "test"} == {
        *("ISIC_00030", "ISIC_00031", "ISIC_00032"),
    }
    with pytest.raises(ConfigError, match=r"no source 'D' .*C \(268 images\), A \(30 images\)"):
        splits_of(frame, SplitConfig(left_out="D"))
