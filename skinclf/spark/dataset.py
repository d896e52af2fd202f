"""The dataset's tables: written by Spark, checked by reading them back."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.errors import CheckError
from skinclf.spark.decoding import ROW
from skinclf.spark.reading import read_parquet
from skinclf.spark.splits import SPLITS
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.tables import REJECTS as REJECTS_SCHEMA
from skinclf.spec.tables import TENSORS as TENSORS_SCHEMA
from skinclf.storage.dataset_folder import REJECTS, TENSORS
from skinclf.storage.files import hadoop_path, join

ROW_GROUP_BYTES = 16 * 2**20
"""About 740 images: what a worker that streams a shard holds at a time."""


def write_tensors(
    placed: DataFrame, images: DataFrame, image: ImageSpec, shards: int, path: str
) -> None:
    """Write TENSORS under split=…/shard=…, one file each, rows in the order of `position`.

    `placed` has every accepted image with `split`, `shard` and `position`, without pixels;
    `images` has the pixels by `row`.
    """
    pixels = F.col("pixels").alias(
        "pixels", metadata={"shape": list(image.shape), "dtype": "uint8"}
    )
    split_number = F.array_position(F.array(*map(F.lit, SPLITS)), F.col("split")) - 1
    file_number = (split_number * shards + F.col("shard")).cast("int")
    digits = max(2, len(str(shards - 1)))
    (
        placed.join(images.select(ROW.name, "pixels"), ROW.name)
        .repartitionById(len(SPLITS) * shards, file_number)
        .withColumn("shard", F.format_string(f"%0{digits}d", "shard"))
        .sortWithinPartitions("split", "shard", "position")
        .select(
            *(pixels if n == "pixels" else n for n in TENSORS_SCHEMA.names),
            "split",
            "shard",
        )
        .write.option("parquet.block.size", str(ROW_GROUP_BYTES))
        .option("parquet.enable.dictionary#pixels", "false")  # no two images are alike
        .option("compression", "zstd")
        .option("parquet.compression.codec.zstd.level", "1")
        .partitionBy("split", "shard")
        .parquet(hadoop_path(join(path, TENSORS)), mode="overwrite")
    )


def write_rejects(rejects: DataFrame, folder: str) -> None:
    """Write REJECTS to a folder as one Parquet file, sorted by source and image_id."""
    (
        rejects.select(*REJECTS_SCHEMA.names)
        .coalesce(1)
        .sortWithinPartitions("source", "image_id")
        .write.parquet(hadoop_path(folder), mode="overwrite")
    )


def read_tensors(spark: SparkSession, path: str, *, pixels: bool = True) -> DataFrame:
    """The tensors of a dataset with `split` and `shard`."""
    tensors = read_parquet(spark, join(path, TENSORS))
    return tensors if pixels else tensors.drop("pixels")


def class_counts(tensors: DataFrame) -> dict[str, dict[str, int]]:
    """split → diagnosis → images."""
    counts: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    for row in tensors.groupBy("split", "dx").count().orderBy("dx").collect():
        counts[row["split"]][row["dx"]] = row["count"]
    return counts


def reason_counts(spark: SparkSession, folder: str) -> dict[str, int]:
    """reason → rejects that were written to a folder, sorted by reason."""
    counts = read_parquet(spark, folder).groupBy("reason").count().orderBy("reason")
    return {row["reason"]: row["count"] for row in counts.collect()}


def check_nothing_lost(place: str, inputs: int, tensors: int, rejects: dict[str, int]) -> None:
    """Raise CheckError unless every input is a tensor or a reject, and some are tensors."""
    rejected = sum(rejects.values())
    if inputs != tensors + rejected:
        raise CheckError(
            f"{place}: {inputs} inputs but {tensors} tensors + {rejected} rejects = "
            f"{tensors + rejected}: rows were lost or doubled. Did the archive change while it "
            f"was read? Run it again"
        )
    if tensors == 0:
        reasons = ", ".join(f"{count} {reason}" for reason, count in rejects.items())
        raise CheckError(
            f"{place}: none of {inputs} inputs became a tensor ({reasons}); "
            f"{join(place, REJECTS)} names them"
            f"{'. Are [classes] those of the metadata?' if 'unknown_dx' in rejects else ''}"
        )


def check_lesions_apart(tensors: DataFrame) -> None:
    """Raise CheckError, naming some, where photographs of a lesion are in two splits."""
    apart = tensors.where("lesion_id IS NOT NULL").groupBy("lesion_id")
    astray = apart.agg(F.count_distinct("split").alias("splits")).where("splits > 1")
    offenders = [row["lesion_id"] for row in astray.orderBy("lesion_id").limit(5).collect()]
    if offenders:
        raise CheckError(
            f"lesions in more than one split: {', '.join(offenders)} …; the test set would show "
            f"lesions that were trained on, so no dataset.json was written"
        )
