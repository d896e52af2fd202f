"""HAM10000's metadata file → one row an image."""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.errors import MetadataError
from skinclf.storage import exists, hadoop_path

REQUIRED = ("lesion_id", "image_id", "dx")
OPTIONAL = ("dx_type", "age", "sex", "localization", "dataset")
"""Kaggle's copy of the file lacks `dataset`; Dataverse's has it."""


def check_metadata_file(path: str) -> None:
    """Raise MetadataError where there is no such file; needs no Spark."""
    if not path:
        raise MetadataError(
            "archive.metadata is empty: name the CSV with the columns lesion_id, image_id and dx"
        )
    if not exists(path):
        raise MetadataError(f"{path}: no such file; archive.metadata names HAM10000's metadata CSV")


def read_metadata(spark: SparkSession, path: str) -> DataFrame:
    """Read HAM10000_metadata.csv in Kaggle's or Dataverse's form; all columns but age as text.

    Columns are found by name, in any order; others are ignored. Empty fields are null, and so
    is an age that is no number. Raises MetadataError where columns are missing.
    """
    file = spark.read.csv(hadoop_path(path), header=True, escape='"')
    missing = [name for name in REQUIRED if name not in file.columns]
    if missing:
        raise MetadataError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(file.columns)}. Expected "
            f"HAM10000's form: {', '.join(REQUIRED)} and, where known, {', '.join(OPTIONAL)}"
        )
    return file.select(*REQUIRED, *(_optional(file, name) for name in OPTIONAL))


def _optional(file: DataFrame, name: str) -> Column:
    kind = "float" if name == "age" else "string"
    column = F.col(name) if name in file.columns else F.lit(None)
    return column.try_cast(kind).alias(name)


def one_row_an_image(metadata: DataFrame) -> DataFrame:
    """Group by image_id: the columns, `metadata_rows` and whether they are `conflicting`.

    A row that stands twice is one fact; two different rows for one image can't both be right.
    """
    columns = [name for name in metadata.columns if name != "image_id"]
    row = F.struct(*columns)
    return (
        metadata.groupBy("image_id")
        .agg(
            F.min(row).alias("row"),
            F.count("*").alias("metadata_rows"),
            (F.count_distinct(row) > 1).alias("conflicting"),
        )
        .select("image_id", "row.*", "metadata_rows", "conflicting")
    )
