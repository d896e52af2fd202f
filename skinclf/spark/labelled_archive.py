"""An archive and its metadata → labelled images: what prepare and outside evaluation begin with."""

import logging
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from skinclf.archives import Selection, list_images, listing_of
from skinclf.archives.decoding import Decoding
from skinclf.config.schema import ArchiveConfig
from skinclf.spark.archive import needs_spark, spark_images
from skinclf.spark.decoding import decoded_images, listing_frame
from skinclf.spark.matching import labelled_images, unused_metadata
from skinclf.spark.metadata import Metadata, one_row_an_image, stage_metadata
from skinclf.spark.progress import spark_progress
from skinclf.spark.reading import read_parquet
from skinclf.spec.tables import REJECTS
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.files import hadoop_path, join, uri

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledArchive:
    """Every input: an image that can be used, or a reject."""

    images: DataFrame  # IMAGES, decoded and staged
    labelled: DataFrame  # the same without pixels, with metadata, `label` and `reason`
    rejects: DataFrame  # REJECTS: images with a reason and metadata rows without a use
    inputs: int


def list_directly(archive: ArchiveConfig, output: str) -> pa.Table | None:
    """The listing, where no Spark is needed for it: wrong paths are reported at once.

    The folder `output`, to which the job writes, is left out.
    """
    if needs_spark(archive, archive.paths):
        return None
    selection = Selection(archive.include, archive.exclude)
    listing = list_images(archive.paths, [archive.metadata, output], selection)
    log_left_out(selection)
    return listing


def list_by_spark(spark: SparkSession, archive: ArchiveConfig) -> pa.Table:
    """The listing, where only Hadoop's connectors reach the storage."""
    selection = Selection(archive.include, archive.exclude)
    listing = listing_of(spark_images(spark, archive.paths, selection), archive.paths)
    log_left_out(selection)
    return listing


def log_left_out(selection: Selection) -> None:
    """Say in one line what `archive.exclude` left out, if anything."""
    if selection.left_out:
        log.info("%s", selection.summary())


def read_labelled_archive(
    spark: SparkSession,
    listing: pa.Table,
    archive: ArchiveConfig,
    taxonomy: Taxonomy,
    decoding: Decoding,
    staging: str,
    console: Console,
) -> LabelledArchive:
    """Decode everything that is listed into the folder `staging` and give it its metadata."""
    found = stage_metadata(spark, archive.metadata, join(staging, "metadata"), taxonomy)
    metadata = one_row_an_image(found.rows).cache()
    images = _staged(spark, listing, decoding, join(staging, "images"), console)
    labelled = labelled_images(images.drop("pixels"), metadata, taxonomy).cache()
    unused = unused_metadata(metadata, images, uri(archive.metadata))
    rejected = labelled.where("reason IS NOT NULL").select(*unused.columns)
    used = metadata.join(images.select("image_id").distinct(), "image_id", "left_semi").count()
    # The metadata's records are counted by the reader of the file, and not by the query that
    # makes their rejects: each image that has metadata uses one.
    return LabelledArchive(
        images,
        labelled,
        rejected.unionByName(unused).unionByName(_malformed(found, uri(archive.metadata))),
        inputs=listing.num_rows + found.records - used,
    )


def _malformed(metadata: Metadata, source: str) -> DataFrame:
    """REJECTS for the rows of the metadata that can't be read."""
    rows = metadata.malformed.withColumn("source", F.lit(source))
    return rows.withColumn("reason", F.lit("malformed_row")).select(*REJECTS.names)


def _staged(
    spark: SparkSession, listing: pa.Table, decoding: Decoding, folder: str, console: Console
) -> DataFrame:
    """IMAGES, written to storage and read back.

    Where an image goes is known when all rejects are, and decoding is nine tenths of the work:
    it is done once, and no lost task makes it be done again.
    """
    with spark_progress(spark, "decode images", console):
        frame = decoded_images(listing_frame(spark, listing), decoding)
        plain = frame.write.option("compression", "none")  # it lives for a minute
        plain.option("parquet.enable.dictionary", "false").parquet(
            hadoop_path(folder), mode="overwrite"
        )
    return read_parquet(spark, folder)
