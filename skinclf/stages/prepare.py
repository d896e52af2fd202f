"""Archive + metadata → dataset."""

import logging
from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console

from skinclf import __version__
from skinclf.archive import list_images, listing_of
from skinclf.config import Config
from skinclf.dataset_folder import (
    REJECTS,
    STAGING,
    Dataset,
    list_tensor_files,
    output_folder,
)
from skinclf.errors import CheckError, ConfigError
from skinclf.storage import absolute, delete, hadoop_path, join, uri
from skinclf.tables import dataset as tables
from skinclf.tables.images import decoded_images, listing_frame
from skinclf.tables.matching import labelled_images, unused_metadata
from skinclf.tables.metadata import check_metadata_file, one_row_an_image, read_metadata
from skinclf.tables.progress import spark_progress
from skinclf.tables.session import spark_session
from skinclf.tables.spark_archive import needs_spark, spark_images
from skinclf.tables.splits import with_shard, with_split

log = logging.getLogger(__name__)


def prepare(config: Config, console: Console) -> Dataset:
    """Build the dataset of `config` from its archive and return what dataset.json says.

    Raises UsageError children for what can't be read or is in the way, and CheckError where the
    closing checks fail; a dataset without dataset.json is no dataset.
    """
    if not config.archive.paths:
        raise ConfigError(
            "archive.paths: is empty; name the folders or zip files with the images, such as "
            '--set archive.paths=["HAM10000_images_part_1.zip","HAM10000_images_part_2.zip"]'
        )
    check_metadata_file(config.archive.metadata)
    archive = config.archive
    by_spark = needs_spark(archive, archive.paths)
    if not by_spark:  # what is wrong with the paths is told before Spark starts
        listing = list_images(archive.paths, [archive.metadata], archive.include)
    folder = output_folder(config.dataset.path)
    folder.check(overwrite=config.dataset.overwrite)
    with spark_session("prepare", config.spark) as spark:
        if by_spark:
            found = spark_images(spark, archive.paths, archive.include)
            listing = listing_of(found, archive.paths)
        log.info("listed %s files", f"{listing.num_rows:,}")
        metadata = one_row_an_image(read_metadata(spark, config.archive.metadata)).cache()
        folder.begin(overwrite=config.dataset.overwrite)
        images = _stage_images(spark, listing, config, console)
        labelled = labelled_images(images.drop("pixels"), metadata).cache()
        unused = unused_metadata(metadata, images, uri(config.archive.metadata))
        with spark_progress(spark, "write tensors", console):
            _write(labelled, unused, images, config)
        inputs = listing.num_rows + unused.count()
        dataset = _checked(spark, config, inputs)
    delete(join(config.dataset.path, STAGING))
    folder.finish(dataset.to_json())
    log.info(
        "wrote %s tensors (%s rejects) of %s inputs to %s",
        *(f"{n:,}" for n in (dataset.tensors, sum(dataset.rejects.values()), dataset.inputs)),
        dataset.path,
    )
    return dataset


def _stage_images(
    spark: SparkSession, listing: pa.Table, config: Config, console: Console
) -> DataFrame:
    """Decode every listed file once and keep it on storage, as IMAGES.

    Which shard an image belongs to is known only when all rejects are, and decoding is nine
    tenths of the work: it is done once, and no lost task makes it be done again.
    """
    staging = hadoop_path(join(config.dataset.path, STAGING))
    with spark_progress(spark, "decode images", console):
        frame = decoded_images(listing_frame(spark, listing), config.archive)
        plain = frame.write.option("compression", "none")  # it lives for a minute
        plain.option("parquet.enable.dictionary", "false").parquet(staging, mode="overwrite")
    return spark.read.parquet(staging)


def _write(labelled: DataFrame, unused: DataFrame, images: DataFrame, config: Config) -> None:
    accepted = labelled.where("reason IS NULL")
    placed = with_shard(
        with_split(accepted, config.split), config.dataset.shards, config.split.seed
    ).cache()
    placed.count()  # now Spark knows that it is small: it goes to the pixels, not they to it
    tables.write_tensors(placed, images, config.dataset.shards, config.dataset.path)
    rejected = labelled.where("reason IS NOT NULL").select(*unused.columns)
    tables.write_rejects(rejected.unionByName(unused), join(config.dataset.path, REJECTS))


def _checked(spark: SparkSession, config: Config, inputs: int) -> Dataset:
    """Read back what was written and describe it. Raises CheckError."""
    path = config.dataset.path
    files = list_tensor_files(path)
    reasons = tables.reason_counts(spark, join(path, REJECTS))
    count = sum(file.rows for file in files)
    tables.check_nothing_lost(inputs, count, sum(reasons.values()))
    if count == 0:
        told = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
        raise CheckError(f"{path}: none of {inputs} inputs became a tensor ({told})")
    tensors = tables.read_tensors(spark, path, pixels=False)
    if config.split.by == "lesion":
        tables.check_lesions_apart(tensors)
    return Dataset(
        skinclf=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sources=list(config.archive.paths),
        metadata=config.archive.metadata,
        split=config.split,
        shards=config.dataset.shards,
        inputs=inputs,
        tensors=count,
        rejects=reasons,
        counts=tables.class_counts(tensors),
        files=files,
        path=absolute(path),
    )
