"""Images meet their metadata: every input becomes a labelled image or a reject."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from skinclf.spark.decoding import ROW
from skinclf.spec.tables import REJECTS
from skinclf.spec.taxonomy import Taxonomy


def labelled_images(images: DataFrame, metadata: DataFrame, taxonomy: Taxonomy) -> DataFrame:
    """Join images (IMAGES without pixels) with `one_row_an_image`: all images, none twice.

    Adds the metadata columns and `label`, and fills `reason` and `detail` for each image that
    can't be used. Of several images with one id, the first usable by source is taken.
    """
    joined = images.join(metadata, "image_id", "left").withColumn(
        "label",
        F.array_position(F.array(*map(F.lit, taxonomy.codes)), F.col("dx")).cast("int") - 1,
    )
    joined = _reject(joined, F.col("metadata_rows").isNull(), "no_metadata", F.lit(None))
    joined = _reject(
        joined,
        F.col("conflicting"),
        "conflicting_metadata",
        F.format_string("%d different metadata rows", "metadata_rows"),
    )
    joined = _reject(
        joined,
        F.col("dx").isNull() | ~F.col("dx").isin(*taxonomy.codes),
        "unknown_dx",
        F.concat(F.lit("dx is "), F.coalesce("dx", F.lit("empty"))),
    )
    same_id = Window.partitionBy("image_id").orderBy(
        F.col("reason").isNotNull(), "source", ROW.name
    )
    ranked = joined.withColumn("taken", F.first("source").over(same_id)).withColumn(
        "rank", F.row_number().over(same_id)
    )
    return _reject(
        ranked,
        F.col("rank") > 1,
        "duplicate_id",
        F.concat(F.lit("taken instead: "), "taken"),
    ).drop("rank", "taken")


def unused_metadata(metadata: DataFrame, images: DataFrame, source: str) -> DataFrame:
    """REJECTS for the metadata rows that no image used: without an image, or repeated."""
    known = images.select("image_id").distinct().withColumn("has_image", F.lit(True))
    rows = metadata.join(known, "image_id", "left")
    without = rows.where("has_image IS NULL").select("image_id", F.lit("no_image").alias("reason"))
    repeated = rows.select(
        "image_id",
        F.lit("duplicate_id").alias("reason"),
        F.explode(F.sequence(F.lit(1), F.col("metadata_rows").cast("int"))).alias("copy"),
    ).where("copy > 1")
    detail = F.when(F.col("reason") == "duplicate_id", "the metadata has this id more than once")
    return (
        without.unionByName(repeated.drop("copy"))
        .withColumn("source", F.lit(source))
        .withColumn("detail", detail)
        .select(*REJECTS.names)
    )


def _reject(images: DataFrame, where: Column, reason: str, detail: Column) -> DataFrame:
    """Give `reason` and `detail` to the images `where` holds that have no reason yet."""
    applies = F.col("reason").isNull() & F.coalesce(where, F.lit(False))
    return images.withColumn(
        "detail", F.when(applies, detail).otherwise(F.col("detail"))
    ).withColumn("reason", F.when(applies, F.lit(reason)).otherwise(F.col("reason")))
