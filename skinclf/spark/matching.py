"""Images meet their metadata: every input has a label, or the reason why it has none."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from skinclf.spark.listing import ROW
from skinclf.spec.taxonomy import Taxonomy


def matched(listed: DataFrame, metadata: DataFrame, taxonomy: Taxonomy) -> DataFrame:
    """Join LISTING with ROW and `one_row_an_image`: all files, none twice.

    Adds the metadata columns, `label` and `place`, and fills `reason` and `detail` for each file
    that can't be used. `place` is the file's ROW, or that of the first usable file by source which
    has the same image_id.
    """
    joined = listed.join(metadata, "image_id", "left").withColumn(
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
    # By groups, not by a window: of one id there may be any number of files.
    usable = joined.where("reason IS NULL").groupBy("image_id")
    first = usable.agg(F.min(F.struct("source", ROW)).alias("first"))
    place = F.when(F.col("reason").isNull(), F.col(f"first.{ROW}")).otherwise(F.col(ROW))
    return joined.join(first, "image_id", "left").withColumn("place", place).drop("first")


def unused_metadata(
    metadata: DataFrame, malformed: DataFrame, listed: DataFrame, source: str
) -> DataFrame:
    """REJECTS for the metadata rows that no image uses: without an image, repeated, malformed."""
    known = listed.select("image_id").distinct().withColumn("has_image", F.lit(True))
    rows = metadata.join(known, "image_id", "left")
    without = rows.where("has_image IS NULL").select(
        "image_id", F.lit("no_image").alias("reason"), F.lit(None).cast("string").alias("detail")
    )
    repeated = rows.select(
        "image_id",
        F.lit("duplicate_id").alias("reason"),
        F.lit("the metadata has this id more than once").alias("detail"),
        F.explode(F.sequence(F.lit(1), F.col("metadata_rows").cast("int"))).alias("copy"),
    ).where("copy > 1")
    damaged = malformed.withColumn("reason", F.lit("malformed_row"))
    unused = without.unionByName(repeated.drop("copy")).unionByName(damaged)
    return unused.withColumn("source", F.lit(source))


def _reject(files: DataFrame, where: Column, reason: str, detail: Column) -> DataFrame:
    """Give `reason` and `detail` to the files `where` holds that have no reason yet."""
    applies = F.col("reason").isNull() & F.coalesce(where, F.lit(False))
    return files.withColumn(
        "detail", F.when(applies, detail).otherwise(F.col("detail"))
    ).withColumn("reason", F.when(applies, F.lit(reason)).otherwise(F.col("reason")))
