"""Assign each image to a split: train, val or test."""

import logging
from collections import defaultdict
from itertools import accumulate

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from skinclf.archives.sources import NO_SOURCE, SETTING, check_left_out
from skinclf.config.schema import SplitConfig
from skinclf.spark.caching import Keep
from skinclf.spark.versions import frame_of, most_frequent
from skinclf.system.text import printable

SPLITS = TRAIN, VAL, TEST = ("train", "val", "test")

log = logging.getLogger(__name__)

BUCKET_BITS = 10
"""Of a hash: a class is sorted in 1,024 parts of about equal size, and by no task as a whole."""

TOTALS = pa.schema(
    [
        ("class", pa.string()),
        ("bucket", pa.int64()),
        ("before", pa.int64()),  # images of the class in the buckets before this one
        ("total", pa.int64()),  # images of the class
    ]
)


def with_split(images: DataFrame, config: SplitConfig, keep: Keep = DataFrame.persist) -> DataFrame:
    """Add `split`: 'train', 'val' or 'test', stratified by class, drawn once per lesion.

    Photographs of one lesion stay together, or the test set would show moles already seen; an
    image without lesion_id is a lesion of its own. `by = "image"` draws each image alone, as
    the paper did. In each class the lesions are in the order of a hash, which survives any
    row order or partitioning, and the first 80 percent of its images (as configured) are train.

    With `folds`, fold k's test images are the k-th part of that order: each lesion is tested in one
    fold. With `left_out`, all images of that source are test. A lesion that it shares with
    another source is tested as a whole (by lesion), so that none of its photographs is trained on.
    Images without a source are never left out. The rest is train and val.

    `images` are rows of `matched_images`; those that can't be used do not count. Raises ConfigError
    where none of them is of the source to leave out.
    """
    images = images.withColumn("group", lesion() if config.by == "lesion" else _image())
    counted = images.where("reason IS NULL AND first IS NOT NULL")
    left_out = F.lit(False)
    if config.left_out:
        _check_left_out(counted, config.left_out)
        left_out = F.max(F.coalesce(F.col("dataset") == config.left_out, left_out))
    hashed = F.xxhash64(F.lit(config.seed), "group")
    groups = keep(
        counted.groupBy("group")
        .agg(most_frequent("dx").alias("class"), F.count("*").alias("n"), left_out.alias("out"))
        .withColumn("hash", hashed)
        .withColumn("bucket", F.shiftright("hash", 64 - BUCKET_BITS))
    )
    rest = groups.where("NOT out") if config.left_out else groups
    bucket = Window.partitionBy("class", "bucket").orderBy("hash", "group")
    inside = F.sum("n").over(bucket.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    until = F.col("before") + F.col("inside")
    middle = (until - F.col("n") / 2) / F.col("total")
    totals = F.broadcast(_totals(rest))
    placed = rest.withColumn("inside", inside).join(totals, ["class", "bucket"])
    drawn = placed.select("group", _split_at(middle, config).alias("split"))
    if config.left_out:
        tested = groups.where("out").select("group", F.lit(TEST).alias("split"))
        drawn = drawn.unionByName(tested)
    return images.join(drawn, "group", "left").drop("group")


def _split_at(middle: Column, config: SplitConfig) -> Column:
    """The split of a lesion whose middle lies there in the order of its class, 0 to 1."""
    if config.left_out:
        return F.when(middle < config.train_of_rest, TRAIN).otherwise(VAL)
    if not config.folds:
        return (
            F.when(middle < config.train, TRAIN)
            .when(middle < config.train + config.val, VAL)
            .otherwise(TEST)
        )
    # Train begins where the tested part ends, and val ends where it begins: other images each time.
    behind = middle - config.fold / config.folds
    place = F.when(behind < 0, behind + 1).otherwise(behind)
    is_train = place < (1 - 1 / config.folds) * config.train_of_rest if config.val else F.lit(True)
    tested = F.floor(middle * config.folds) == config.fold - 1
    return F.when(tested, TEST).when(is_train, TRAIN).otherwise(VAL)


def _check_left_out(images: DataFrame, left_out: str) -> None:
    """Raise ConfigError where no image is of that source, or all are. Warn of images of none."""
    rows = images.groupBy("dataset").count().collect()
    counts = {row["dataset"] or NO_SOURCE: row["count"] for row in rows}
    check_left_out(left_out, counts, "the images that can be used")
    if NO_SOURCE in counts:
        log.warning(
            "%s: %s images have no source and are trained on; whether they are of %s, too, is not "
            "known",
            SETTING,
            f"{counts[NO_SOURCE]:,}",
            printable(left_out),
        )


def _totals(groups: DataFrame) -> DataFrame:
    """TOTALS of `class`, `bucket` and `n`: at most 1,024 rows a class, added up by the driver."""
    rows = groups.groupBy("class", "bucket").agg(F.sum("n").alias("n")).collect()
    classes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in sorted(map(tuple, rows)):
        classes[row[0]].append(row[1:])
    totals = []
    for name, buckets in classes.items():
        before = [0, *accumulate(n for _, n in buckets)]
        totals += [
            {"class": name, "bucket": bucket, "before": before[place], "total": before[-1]}
            for place, (bucket, _) in enumerate(buckets)
        ]
    return frame_of(groups.sparkSession, pa.Table.from_pylist(totals, schema=TOTALS))


def lesion() -> Column:
    """The lesion an image shows; without lesion_id, one of its own."""
    return F.coalesce("lesion_id", _image())


def _image() -> Column:
    return F.concat(F.lit("image "), "image_id")
