"""Spark's readers, which take a path for a pattern by default."""

import re
from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from skinclf.storage.files import hadoop_options, hadoop_path

LITERAL = ("__globPaths__", "false")
"""Spark's own option (DataSource.GLOB_PATHS_KEY) against patterns. Escapes would not do: Hadoop
can't match patterns in folders with a colon in a name."""

HIDDEN, HIDDEN_NAMES = "ignoredPathSegmentRegex", "(?!)"
"""Which files Spark does not list: none. By default it leaves out names that begin with `_` or a
point, as photographs in Adobe RGB do (`_DSC1234.JPG`). See
`versions.lists_hidden_names`."""

PATTERN = re.compile(r"[\[\]{}*?\\]")


def literal_reader(spark: SparkSession, *paths: str) -> DataFrameReader:
    """A reader of `paths` to which [ ] { } * ? in a path stand for themselves."""
    reader = spark.read.option(*LITERAL)
    for path in paths:
        reader = reader.options(**hadoop_options(path))
    return reader


def read_parquet(
    spark: SparkSession,
    path: str,
    schema: pa.Schema | StructType | None = None,
    *,
    recursive: bool = False,
) -> DataFrame:
    """The Parquet files below a path or URI; columns of `schema` that a file lacks are null.

    `recursive`: in whatever folders they lie, whose names then say nothing.
    """
    reader = literal_reader(spark, path).option("recursiveFileLookup", str(recursive).lower())
    if schema is not None:
        types = from_arrow_schema(schema) if isinstance(schema, pa.Schema) else schema
        reader = reader.schema(types)
    return reader.parquet(hadoop_path(path))


def read_parquet_files(
    spark: SparkSession,
    folder: str,
    names: Sequence[str],
    schema: pa.Schema,
    name_column: str | None = None,
) -> DataFrame:
    """The files called `names` in a folder, and no others: Spark does not open those.

    `name_column` is added, where it is given: the name of a row's file.

    By the folder: of several paths with characters of patterns, LITERAL has Spark 4.3 read each
    once for each.
    """
    files = read_parquet(spark, folder, schema)
    file_name = F.col("_metadata.file_name")
    added = [file_name.alias(name_column)] if name_column else []
    return files.where(file_name.isin(*names)).select(*schema.names, *added)


def read_binary_files(spark: SparkSession, folder: str, *paths: str) -> DataFrame:
    """Spark's binaryFile over all that is below a folder (or over a file), listed now; without
    those that are gone when they are read. The path is Hadoop's, see `hadoop_path`; `paths` are
    the URIs whose options are to hold.

    Raises AnalysisException if there is none.
    """
    return binary_files(spark, *paths).option("ignoreMissingFiles", "true").load(folder)


def binary_files(spark: SparkSession, *paths: str) -> DataFrameReader:
    """A reader of all files below what it is to load; see `read_binary_files` for `paths`."""
    reader = literal_reader(spark, *paths).format("binaryFile")
    return reader.options(**{"recursiveFileLookup": "true", HIDDEN: HIDDEN_NAMES})


def readable_by_hadoop(path: str) -> bool:
    """Whether Spark's own sources can read a file.

    Hadoop takes a colon for the end of a scheme where it matches patterns, and where it makes the
    name of a local file's checksum.
    """
    name = path.partition(":")[2]
    return ":" not in name or not (PATTERN.search(name) or path.startswith("file:"))
