"""The images of one evaluation: a split of a dataset, or a labelled archive from elsewhere."""

from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from skinclf.archives.decoding import Decoding
from skinclf.config.schema import ArchiveConfig
from skinclf.spark.dataset import check_nothing_lost, reason_counts, write_rejects
from skinclf.spark.decoding import ROW
from skinclf.spark.labelled_archive import list_by_spark, read_labelled_archive
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.tables import TENSORS
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import EvaluationFolder


@dataclass(frozen=True)
class TestedImages:
    """TENSORS, and where they come from."""

    tensors: DataFrame
    count: int
    rejects: dict[str, int]  # by reason; of an outside archive
    split_by: str  # "image" or "lesion"; "" for an outside archive


def split_images(tensors: DataFrame, dataset: Dataset, split: str) -> TestedImages:
    """A split of the dataset."""
    images = tensors.where(F.col("split") == split)
    return TestedImages(images, sum(dataset.rows_of(split)), {}, dataset.split.by)


def outside_images(
    spark: SparkSession,
    listing: pa.Table | None,
    archive: ArchiveConfig,
    taxonomy: Taxonomy,
    image: ImageSpec,
    folder: EvaluationFolder,
    console: Console,
) -> TestedImages:
    """Decode and label an archive that is no dataset, in the classes and the size of a model; what
    can't be used goes to rejects. No `listing`: Spark makes it.
    """
    if listing is None:
        listing = list_by_spark(spark, archive)
    decoding = Decoding(archive, image=image, digests=True)
    found = read_labelled_archive(
        spark, listing, archive, taxonomy, decoding, folder.staging, console
    )
    write_rejects(found.rejects, folder.rejects)
    reasons = reason_counts(spark, folder.rejects)
    accepted = found.labelled.where("reason IS NULL")
    count = accepted.count()
    check_nothing_lost(folder.path, found.inputs, count, reasons)
    tensors = accepted.join(found.images.select(ROW.name, "pixels"), ROW.name)
    return TestedImages(tensors.select(*TENSORS.names), count, reasons, "")
