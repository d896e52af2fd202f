from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.config.schema import SplitConfig
from skinclf.spark.splits import with_shard, with_split


def images(spark: SparkSession, count: int, a_lesion: int = 3, code: str = "nv") -> DataFrame:
    """`count` photographs, `a_lesion` of them of each lesion."""
    rows = [(f"ISIC_{n:05}", f"HAM_{n // a_lesion}", code) for n in range(count)]
    return spark.createDataFrame(rows, "image_id string, lesion_id string, dx string")


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


def test_shards_are_equal_up_to_one_row_and_positions_have_no_gaps(spark: SparkSession) -> None:
    placed = with_shard(with_split(images(spark, 303), SplitConfig()), 8, seed=1)
    for split, count in counts_by_split(placed).items():
        shards: dict[int, list[int]] = {}
        for row in placed.where(F.col("split") == split).collect():
            shards.setdefault(row.shard, []).append(row.position)
        sizes = [len(positions) for positions in shards.values()]
        assert sum(sizes) == count
        assert max(sizes) - min(sizes) <= 1
        assert all(sorted(p) == list(range(len(p))) for p in shards.values())
