"""What becomes of each input is decided before any file is read, from listing and metadata alone.

A file that then can't be decoded leaves a hole: it is a reject, and nothing else moves.
"""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.archives import LISTING, Selection
from skinclf.archives.class_folders import with_path_ids
from skinclf.archives.labelled import LabelledArchive
from skinclf.config.schema import SplitConfig
from skinclf.spark.archive import needs_spark, with_contents
from skinclf.spark.caching import Keep
from skinclf.spark.listing import ROW, listed_files, listed_rows, log_left_out
from skinclf.spark.matching import matched_images, planned_files, unused_metadata
from skinclf.spark.metadata import folder_metadata, one_row_an_image, stage_metadata
from skinclf.spark.splits import TEST, with_split
from skinclf.spark.versions import in_partitions
from skinclf.spec.tables import PLANNED
from skinclf.storage.files import join, uri

PART, SPLIT = "part", "split"

ROWS_A_PART, MOST_ROWS_A_PART, PARTS = 500, 5_000, 1_000
"""Two seconds of one core hide a task's start and balance the load. Of large archives the parts
grow, so that files do not become too many."""


ROWS_A_BLOCK = 50
"""Neighbors of the listing that stay neighbors: what one read brings in serves the next."""


@dataclass(frozen=True)
class Plan:
    """Every input with what becomes of it if it can be read.

    `rows` is LISTING with ROW, PLANNED columns, PART and SPLIT, in a partition a part, and sorted.
    A part is made of blocks of neighbors from all over the listing, in which files with one
    image_id stand together: an archive is often sorted by class or hospital, and training mixes
    only what lies within a shard, some parts long. Rows with a `reason` are rejects for sure.
    """

    rows: DataFrame
    files: int  # that are listed
    inputs: int  # these, and the metadata rows that no file uses
    merged: dict[str, str]  # `SameLesions.merged`


def plan_archive(
    spark: SparkSession,
    labelled: LabelledArchive,
    split: SplitConfig | None,
    output: str,
    staging: str,
    keep: Keep,
) -> Plan:
    """List an archive and give each of its files metadata, split and part.

    Without `split` all images are TEST. The folder `output`, to which the job writes, is no part of
    the archive. The plan can be read while `keep` keeps its frames. Raises MetadataError, and
    ArchiveError where nothing is listed.
    """
    archive = labelled.archive
    if not labelled.by_folder:  # what is wrong with it is known before the archive is listed
        found = stage_metadata(spark, labelled, join(staging, "metadata"))
    selection = Selection(archive.include, archive.exclude)
    leave_out = [*archive.metadata_files, output]
    listing = listed_rows(spark, archive, archive.paths, leave_out, selection)
    if labelled.by_folder:
        listing = with_path_ids(listing, archive.paths)
    listed, count = listed_files(spark, listing, archive.paths, join(staging, "listing"), keep)
    log_left_out(selection)
    if labelled.by_folder:
        found = folder_metadata(listed, labelled)
    metadata = keep(one_row_an_image(found.rows))
    images = keep(matched_images(listed, metadata, labelled.taxonomy))
    drawn = with_split(images, split, keep) if split else images.withColumn(SPLIT, F.lit(TEST))
    files = planned_files(listed, drawn)
    parts = -(-count // min(max(ROWS_A_PART, count // PARTS), MOST_ROWS_A_PART))
    files = files.withColumn(PART, F.floor(F.col("place") / ROWS_A_BLOCK) % parts)
    # The metadata's records are counted by the reader of the file, and not by the query that
    # makes their rejects: each image that has metadata uses one.
    used = metadata.join(listed.select("image_id").distinct(), "image_id", "left_semi").count()
    unused = unused_metadata(images, found.malformed, uri(archive.metadata))
    more = -(-(found.records - used) // MOST_ROWS_A_PART)
    if more:
        part = parts + F.pmod(F.xxhash64("image_id"), F.lit(more))
        rejects = unused.withColumn(PART, part)
        files = files.unionByName(rejects, allowMissingColumns=True)
    columns = [*LISTING.names, ROW, *(n for n in PLANNED if n not in LISTING.names), SPLIT, PART]
    rows = files.select(*columns, "place")
    if needs_spark(archive, archive.paths):
        rows = with_contents(rows, archive.paths, archive.max_file_bytes)
    rows = in_partitions(rows, parts + more, F.col(PART).cast("int"))
    ordered = rows.sortWithinPartitions(PART, "place", "source", ROW, "image_id").drop("place")
    return Plan(ordered, count, count + found.records - used, found.merged)
