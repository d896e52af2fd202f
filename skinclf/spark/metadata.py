"""Metadata as a table: written to storage in parts, then one row an image."""

import logging
from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.archives.labelled import LabelledArchive
from skinclf.archives.metadata import Malformed
from skinclf.archives.metadata_formats import Row
from skinclf.archives.same_lesion import SHIPPED, SameLesions, read_groups
from skinclf.spark.reading import read_parquet
from skinclf.spark.versions import frame_of
from skinclf.storage.files import delete, join, write_table

METADATA = pa.schema(
    [
        ("lesion_id", pa.string()),
        ("image_id", pa.string()),
        ("dx", pa.string()),
        ("dx_type", pa.string()),
        ("age", pa.float32()),  # years
        ("sex", pa.string()),
        ("localization", pa.string()),
        ("dataset", pa.string()),
        ("malformed", pa.string()),  # why the row can't be used; null for nearly every row
    ]
)

log = logging.getLogger(__name__)

ROWS_A_PART = 50_000
"""Of what the driver holds before it writes it."""


class Metadata(NamedTuple):
    """The rows of a metadata file."""

    rows: DataFrame  # METADATA without `malformed`
    malformed: DataFrame  # image_id and detail of those that can't be used
    records: int  # of all records in the file, as its reader counted them
    merged: dict[str, str]  # `SameLesions.merged`, by which `rows` have their lesions


def stage_metadata(spark: SparkSession, labelled: LabelledArchive, folder: str) -> Metadata:
    """Read the table of an archive and write it below `folder`; lesions of `archive.same_lesion`
    are one. Raises MetadataError.
    """
    delete(folder)
    count, with_lesion = 0, 0
    same_lesion = labelled.archive.same_lesion
    groups = read_groups(same_lesion)
    same, named = SameLesions(groups), pa.array(_names(groups), pa.string())
    for number, part in enumerate(_parts(labelled.rows())):
        ids = part.select(["image_id", "lesion_id"])
        listed = pc.or_(*(pc.is_in(column, named) for column in ids.columns))
        for row in ids.filter(listed).to_pylist():
            same.add(**row)
        write_table(part, join(folder, f"{number:06}.parquet"))
        count += part.num_rows
        with_lesion += part.num_rows - part["lesion_id"].null_count
    if count and not with_lesion:
        log.warning(
            "%s: no row has a lesion_id, so each image counts as a lesion of its own, but those of "
            "archive.same_lesion. Photographs of one lesion may be in two splits",
            labelled.archive.metadata,
        )
    merged = _merged(same, same_lesion)
    rows = read_parquet(spark, folder) if count else _no_rows(spark)
    table = _with_merged(rows, merged)
    malformed = table.where("malformed IS NOT NULL")
    return Metadata(
        table.where("malformed IS NULL").drop("malformed"),
        malformed.select("image_id", F.col("malformed").alias("detail")),
        count,
        merged,
    )


def folder_metadata(listed: DataFrame, labelled: LabelledArchive) -> Metadata:
    """What the ids of `with_path_ids` say: the folder of an image is its `dx`.

    `listed` is LISTING. Lesions are those of `archive.same_lesion` alone. Raises MetadataError.
    """
    images = listed.select("image_id").distinct()
    folder = F.nullif(F.regexp_extract("image_id", "([^/]*)/[^/]*$", 1), F.lit(""))
    codes = labelled.taxonomy.words | labelled.labels()
    words = F.create_map(*map(F.lit, chain(*codes.items())))
    known = {"dx": F.coalesce(F.try_element_at(words, F.lower(folder)), folder)}
    rows = images.select(
        *(
            known.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name)
            if field.name != "image_id"
            else "image_id"
            for field in from_arrow_schema(METADATA)
            if field.name != "malformed"
        )
    )
    same_lesion = labelled.archive.same_lesion
    groups = read_groups(same_lesion)
    same = SameLesions(groups)
    if groups:
        named = _names(groups)
        file = F.regexp_extract("image_id", "[^/]*$", 0)  # a list may name files without folders
        for row in images.where(file.isin(named) | F.col("image_id").isin(named)).collect():
            path = row["image_id"]
            same.add(path, None)
            same.add(path.rpartition("/")[2], path)
    none = listed.sparkSession.createDataFrame([], "image_id string, detail string")
    merged = _merged(same, same_lesion)
    return Metadata(_with_merged(rows, merged), none, images.count(), merged)


def one_row_an_image(metadata: DataFrame) -> DataFrame:
    """Group by image_id: the columns, `metadata_rows` and whether they are `conflicting`.

    A repeated row is one fact; two different rows for one image can't both be right.
    """
    columns = [name for name in metadata.columns if name != "image_id"]
    row = F.struct(*columns)
    return (
        metadata.groupBy("image_id")
        .agg(
            F.min(row).alias("row"),
            F.count("*").alias("metadata_rows"),
            (F.min(row) != F.max(row)).alias("conflicting"),
        )
        .select("image_id", "row.*", "metadata_rows", "conflicting")
    )


def _names(groups: list[list[str]]) -> list[str]:
    return sorted({name for group in groups for name in group})


def _parts(rows: Iterator[Row | Malformed]) -> Iterator[pa.Table]:
    while part := list(islice(rows, ROWS_A_PART)):
        yield pa.Table.from_pylist(
            [
                {"image_id": row.image_id, "malformed": row.detail}
                if isinstance(row, Malformed)
                else row
                for row in part
            ],
            schema=METADATA,
        )


def _merged(same: SameLesions, same_lesion: str) -> dict[str, str]:
    """What `same` merges, which has seen all rows; it is of the list `same_lesion`."""
    if same.unknown and same_lesion not in SHIPPED:
        log.warning(
            "archive.same_lesion: %s of its ids are in no row of the metadata, such as %s",
            f"{len(same.unknown):,}",
            min(same.unknown),
        )
    merged = same.merged()
    if merged:
        ones = f"{len(set(merged.values())):,}"
        log.info("archive.same_lesion: %s lesions are %s", f"{len(merged):,}", ones)
    return merged


def _with_merged(metadata: DataFrame, merged: dict[str, str]) -> DataFrame:
    """METADATA with the lesions that `SameLesions.merged` gives."""
    if not merged:
        return metadata
    rows = pa.table({"key": list(merged), "same": list(merged.values())})
    same = F.broadcast(frame_of(metadata.sparkSession, rows))
    keyed = metadata.withColumn("key", F.coalesce("lesion_id", "image_id"))
    lesion = F.coalesce("same", "lesion_id")
    joined = keyed.join(same, "key", "left").withColumn("lesion_id", lesion)
    return joined.select(*metadata.columns)


def _no_rows(spark: SparkSession) -> DataFrame:
    return frame_of(spark, METADATA.empty_table())
