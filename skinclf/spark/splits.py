"""Assign each image to a split (train, val, test) and a shard."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from skinclf.config.schema import SplitConfig

SPLITS = ("train", "val", "test")


def with_split(images: DataFrame, config: SplitConfig) -> DataFrame:
    """Add `split`: 'train', 'val' or 'test', stratified by class, drawn once per lesion.

    Photographs of one lesion stay together, or the test set would show moles already seen; an
    image without lesion_id is a lesion of its own. `by = "image"` draws each image alone, as
    the paper did. In each class the lesions are in the order of a hash, which survives any
    row order or partitioning, and the first 80 percent of its images (as configured) are train.
    """
    images = images.withColumn("group", lesion() if config.by == "lesion" else _image())
    groups = images.groupBy("group").agg(
        F.mode("dx", deterministic=True).alias("class"), F.count("*").alias("n")
    )
    in_class = Window.partitionBy("class")
    before = in_class.orderBy(F.xxhash64(F.lit(config.seed), "group"), "group")
    until = F.sum("n").over(before.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    middle = (until - F.col("n") / 2) / F.sum("n").over(in_class)
    split = (
        F.when(middle < config.train, SPLITS[0])
        .when(middle < config.train + config.val, SPLITS[1])
        .otherwise(SPLITS[2])
    )
    drawn = groups.select("group", split.alias("split"))
    return images.join(drawn, "group").drop("group")


def with_shard(images: DataFrame, shards: int, seed: int) -> DataFrame:
    """Add `shard` (0 … shards-1) and `position` in it: equal shards in each split, ±1 row.

    Drawn by hash of image_id; `position` orders a shard's rows the same on every storage.
    """
    order = Window.partitionBy("split").orderBy(F.xxhash64(F.lit(seed), "image_id"), "image_id")
    rank = F.row_number().over(order) - 1
    return (
        images.withColumn("rank", rank)
        .withColumn("shard", F.col("rank") % shards)
        .withColumn("position", F.floor(F.col("rank") / shards).cast("int"))
        .drop("rank")
    )


def lesion() -> Column:
    """The lesion an image shows; without lesion_id, one of its own."""
    return F.coalesce("lesion_id", _image())


def _image() -> Column:
    return F.concat(F.lit("image "), "image_id")
