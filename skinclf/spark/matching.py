"""Images meet their metadata: every one has a label, or the reason why it has none."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from skinclf.spark.listing import ROW
from skinclf.spec.taxonomy import Taxonomy


def matched_images(listed: DataFrame, metadata: DataFrame, taxonomy: Taxonomy) -> DataFrame:
    """LISTING with ROW and `one_row_an_image` → one row an image_id that either of them has.

    `files` is how many files have the id (null: none), and `first` the source and ROW of the first
    of them by source that can be read at all. Besides the columns of the metadata there is
    `label`, or `reason` and `detail` where the image can't be used.
    """
    readable = F.when(F.col("reason").isNull(), F.struct("source", ROW))
    # By groups, not by a window: of one id there may be any number of files.
    files = listed.groupBy("image_id").agg(
        F.count("*").alias("files"), F.min(readable).alias("first")
    )
    dx = F.col("dx")
    # Not F.array_position: before Spark 4 it takes no column for what is looked for.
    codes = F.array(*map(F.lit, taxonomy.codes))
    label = F.call_function("array_position", codes, dx).cast("int") - 1
    rows = F.col("metadata_rows")
    problems = [
        (F.col("files").isNull(), "no_image", F.lit(None)),
        (rows.isNull(), "no_metadata", F.lit(None)),
        (
            F.col("conflicting"),
            "conflicting_metadata",
            F.format_string("%d different metadata rows", rows),
        ),
        (
            dx.isNull() | ~dx.isin(*taxonomy.codes),
            "unknown_dx",
            F.concat(F.lit("dx is "), F.coalesce(dx, F.lit("empty"))),
        ),
    ]
    problem = _problem(None, F.lit(None))
    for where, reason, detail in reversed(problems):
        problem = F.when(where, _problem(reason, detail)).otherwise(problem)
    return (
        files.join(metadata, "image_id", "full")
        .withColumns({"label": label, "problem": problem})
        .withColumns({"reason": F.col("problem.reason"), "detail": F.col("problem.detail")})
        .drop("problem")
    )


def planned_files(listed: DataFrame, images: DataFrame) -> DataFrame:
    """LISTING with ROW and what is known of each file's image: all files, none twice.

    What can't be read keeps the `reason` of the listing. `place` is the file's ROW or, where it can
    be used, that of the image's first file: files of one image stand together.
    """
    known = images.drop("files", "metadata_rows", "conflicting")
    known = known.withColumnsRenamed({"reason": "image_reason", "detail": "image_detail"})
    files = listed.join(known, "image_id", "left")
    detail = F.when(F.col("reason").isNull(), F.col("image_detail")).otherwise(F.col("detail"))
    reason = F.coalesce("reason", "image_reason")
    # Rejects stay where they are: any number of them may have one name.
    place = F.when(reason.isNull(), F.col(f"first.{ROW}")).otherwise(F.col(ROW))
    decided = files.withColumns({"detail": detail, "reason": reason, "place": place})
    return decided.drop("image_reason", "image_detail", "first")


def unused_metadata(images: DataFrame, malformed: DataFrame, source: str) -> DataFrame:
    """REJECTS for the metadata rows that no image uses: without an image, repeated, malformed."""
    without = images.where("files IS NULL").select("image_id", "reason", "detail")
    repeated = images.select(
        "image_id",
        F.lit("duplicate_id").alias("reason"),
        F.lit("the metadata has this id more than once").alias("detail"),
        F.explode(F.sequence(F.lit(1), F.col("metadata_rows").cast("int"))).alias("copy"),
    ).where("copy > 1")
    damaged = malformed.withColumn("reason", F.lit("malformed_row"))
    unused = without.unionByName(repeated.drop("copy")).unionByName(damaged)
    return unused.withColumn("source", F.lit(source))


def _problem(reason: str | None, detail: Column) -> Column:
    return F.struct(
        F.lit(reason).cast("string").alias("reason"), detail.cast("string").alias("detail")
    )
