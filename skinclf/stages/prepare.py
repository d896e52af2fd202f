"""Archive + metadata → dataset."""

import logging
from datetime import UTC, datetime

from pyspark.sql import SparkSession
from rich.console import Console

from skinclf import __version__
from skinclf.archives import check_paths
from skinclf.archives.decoding import Decode, Decoding
from skinclf.archives.metadata import check_metadata_file
from skinclf.config.schema import Config
from skinclf.errors import ArchiveChanged, ConfigError
from skinclf.spark import dataset as tables
from skinclf.spark.archive import needs_spark
from skinclf.spark.failures import spark_failures
from skinclf.spark.labelled_archive import (
    LabelledArchive,
    list_by_spark,
    list_directly,
    read_labelled_archive,
)
from skinclf.spark.progress import spark_progress
from skinclf.spark.session import exclusive, spark_session
from skinclf.spark.splits import with_shard, with_split
from skinclf.storage.dataset_folder import (
    REJECTS,
    STAGING,
    Dataset,
    list_tensor_files,
    output_folder,
)
from skinclf.storage.files import absolute, delete, join
from skinclf.storage.ownership import check_free

log = logging.getLogger(__name__)


def prepare(config: Config, console: Console, decode: Decode | None = None) -> Dataset:
    """Build the dataset of `config` from its archive and return what dataset.json says.

    `decode` replaces the decoder. Raises UsageError children for what can't be read or is in the
    way, CheckError where the closing checks fail, and StorageUnavailable where the storage fails
    or the archive is rewritten meanwhile; a dataset without dataset.json is no dataset.
    """
    if not config.archive.paths:
        raise ConfigError(
            "archive.paths: is empty; name the folders or zip files with the images, such as "
            '--set archive.paths=["HAM10000_images_part_1.zip","HAM10000_images_part_2.zip"]'
        )
    if not needs_spark(config.archive, config.archive.paths):
        check_paths(config.archive.paths)
    check_metadata_file(config.archive.metadata, config.classes)
    listing = list_directly(config.archive, config.dataset.path)
    folder = output_folder(config.dataset.path)
    folder.check(overwrite=config.dataset.overwrite)
    check_free(config.dataset.path)
    with (
        spark_session("prepare", config.spark) as spark,
        spark_failures(config.dataset.path),
        exclusive(spark, config.dataset.path, "prepare"),
    ):
        if listing is None:
            listing = list_by_spark(spark, config.archive)
        log.info("listed %s files", f"{listing.num_rows:,}")
        folder.begin(overwrite=config.dataset.overwrite)
        staging = join(config.dataset.path, STAGING)
        decoding = Decoding(config.archive, decode, config.image, digests=True)
        archive = read_labelled_archive(
            spark, listing, config.archive, config.classes, decoding, staging, console
        )
        with spark_progress(spark, "write tensors", console):
            _write(archive, config)
        dataset = _checked(spark, config, archive.inputs)
        delete(join(config.dataset.path, STAGING))
        folder.finish(dataset.to_json())
    log.info(
        "wrote %s tensors (%s rejects) of %s inputs to %s",
        *(f"{n:,}" for n in (dataset.tensors, sum(dataset.rejects.values()), dataset.inputs)),
        dataset.path,
    )
    return dataset


def _write(archive: LabelledArchive, config: Config) -> None:
    accepted = archive.labelled.where("reason IS NULL")
    placed = with_shard(
        with_split(accepted, config.split), config.dataset.shards, config.split.seed
    ).cache()
    placed.count()  # now Spark knows that it is small: it goes to the pixels, not they to it
    shards, path = config.dataset.shards, config.dataset.path
    tables.write_tensors(placed, archive.images, config.image, shards, path)
    tables.write_rejects(archive.rejects, join(config.dataset.path, REJECTS))


def _checked(spark: SparkSession, config: Config, inputs: int) -> Dataset:
    """Read back what was written and describe it. Raises CheckError."""
    path = config.dataset.path
    files = list_tensor_files(path)
    reasons = tables.reason_counts(spark, join(path, REJECTS))
    if "changed" in reasons:
        raise ArchiveChanged(
            f"{', '.join(config.archive.paths)}: rewritten while it was read, so {path} is not "
            f"finished. Rerun the same command"
        )
    count = sum(file.rows for file in files)
    tables.check_nothing_lost(path, inputs, count, reasons)
    tensors = tables.read_tensors(spark, path, pixels=False)
    if config.split.by == "lesion":
        tables.check_lesions_apart(tensors)
    return Dataset(
        skinclf=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sources=list(config.archive.paths),
        metadata=config.archive.metadata,
        licence=config.archive.licence,
        taxonomy=config.classes,
        image=config.image,
        split=config.split,
        shards=config.dataset.shards,
        inputs=inputs,
        tensors=count,
        rejects=reasons,
        counts=tables.class_counts(tensors),
        files=files,
        path=absolute(path),
    )
