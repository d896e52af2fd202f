"""Spark's readers, which take a path for a pattern by default."""

import re
from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from skinclf.storage.files import hadoop_path

LITERAL = ("__globPaths__", "false")
"""Spark's own option (DataSource.GLOB_PATHS_KEY) against patterns. Escapes would not do: Hadoop
can't match patterns in folders with a colon in a name."""

PATTERN = re.compile(r"[\[\]{}*?\\]")


def literal_reader(spark: SparkSession) -> DataFrameReader:
    """A reader to which [ ] { } * ? in a path stand for themselves."""
    return spark.read.option(*LITERAL)


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
    reader = literal_reader(spark).option("recursiveFileLookup", str(recursive).lower())
    if schema is not None:
        types = from_arrow_schema(schema) if isinstance(schema, pa.Schema) else schema
        reader = reader.schema(types)
    return reader.parquet(hadoop_path(path))


def read_binary_files(spark: SparkSession, paths: Sequence[str]) -> DataFrame:
    """Spark's binaryFile over files, by their paths as Spark gave them; without those gone by now.

    Escaped, and not by LITERAL: of several paths with such characters Spark 4.3 would read each
    once for each. Raises AnalysisException if a file is gone before Spark looks.
    """
    reader = spark.read.format("binaryFile").option("ignoreMissingFiles", "true")
    return reader.load([PATTERN.sub(r"\\\g<0>", path) for path in paths])


def readable_by_hadoop(path: str) -> bool:
    """Whether `read_binary_files` can read a file.

    Hadoop takes a colon for the end of a scheme where it matches patterns, and where it makes the
    name of a local file's checksum.
    """
    name = path.partition(":")[2]
    return ":" not in name or not (PATTERN.search(name) or path.startswith("file:"))
