"""An archive and its metadata → labelled images: what prepare and outside evaluation begin with."""

from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console

from skinclf.archive import list_images, listing_of
from skinclf.config import ArchiveConfig
from skinclf.storage import hadoop_path, uri
from skinclf.tables.images import decoded_images, listing_frame
from skinclf.tables.matching import labelled_images, unused_metadata
from skinclf.tables.metadata import one_row_an_image, read_metadata
from skinclf.tables.progress import spark_progress
from skinclf.tables.spark_archive import needs_spark, spark_images


@dataclass(frozen=True)
class LabelledArchive:
    """Every input: an image that can be used, or a reject."""

    images: DataFrame  # IMAGES, decoded and staged
    labelled: DataFrame  # the same without pixels, with metadata, `label` and `reason`
    rejects: DataFrame  # REJECTS: images with a reason and metadata rows without a use
    inputs: int


def list_directly(archive: ArchiveConfig) -> pa.Table | None:
    """The listing, where no Spark is needed for it: what is wrong with paths is told at once."""
    if needs_spark(archive, archive.paths):
        return None
    return list_images(archive.paths, [archive.metadata], archive.include)


def list_by_spark(spark: SparkSession, archive: ArchiveConfig) -> pa.Table:
    """The listing, where only Hadoop's connectors reach the storage."""
    return listing_of(spark_images(spark, archive.paths, archive.include), archive.paths)


def read_labelled_archive(
    spark: SparkSession,
    listing: pa.Table,
    archive: ArchiveConfig,
    staging: str,
    console: Console,
) -> LabelledArchive:
    """Decode everything that is listed into the folder `staging` and give it its metadata."""
    rows = read_metadata(spark, archive.metadata).cache()
    metadata = one_row_an_image(rows).cache()
    images = _staged(spark, listing, archive, staging, console)
    labelled = labelled_images(images.drop("pixels"), metadata).cache()
    unused = unused_metadata(metadata, images, uri(archive.metadata))
    rejected = labelled.where("reason IS NOT NULL").select(*unused.columns)
    used = metadata.join(images.select("image_id").distinct(), "image_id", "left_semi").count()
    # Counted another way than the rejects are made: each image that has metadata uses one row.
    inputs = listing.num_rows + rows.count() - used
    return LabelledArchive(images, labelled, rejected.unionByName(unused), inputs)


def _staged(
    spark: SparkSession, listing: pa.Table, archive: ArchiveConfig, staging: str, console: Console
) -> DataFrame:
    """IMAGES, written to storage and read back.

    Where an image goes is known when all rejects are, and decoding is nine tenths of the work:
    it is done once, and no lost task makes it be done again.
    """
    folder = hadoop_path(staging)
    with spark_progress(spark, "decode images", console):
        frame = decoded_images(listing_frame(spark, listing), archive)
        plain = frame.write.option("compression", "none")  # it lives for a minute
        plain.option("parquet.enable.dictionary", "false").parquet(folder, mode="overwrite")
    return spark.read.parquet(folder)
