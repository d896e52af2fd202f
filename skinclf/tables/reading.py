"""Spark's readers, which take a path for a pattern unless told otherwise."""

from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from skinclf.storage import hadoop_path

LITERAL = ("__globPaths__", "false")
"""Spark's own option (DataSource.GLOB_PATHS_KEY) against patterns. Escapes would not do: Hadoop
can't match patterns in folders with a colon in a name."""


def literal_reader(spark: SparkSession) -> DataFrameReader:
    """A reader to which [ ] { } * ? in a path stand for themselves."""
    return spark.read.option(*LITERAL)


def read_parquet(
    spark: SparkSession, path: str, schema: pa.Schema | StructType | None = None
) -> DataFrame:
    """The Parquet files below a path or URI; columns of `schema` that a file lacks are null."""
    reader = literal_reader(spark)
    if schema is not None:
        types = from_arrow_schema(schema) if isinstance(schema, pa.Schema) else schema
        reader = reader.schema(types)
    return reader.parquet(hadoop_path(path))


def read_binary(spark: SparkSession, paths: Sequence[str], **options: str) -> DataFrame:
    """Spark's binaryFile over paths in Hadoop's form (hadoop_path, or as it gives them itself)."""
    return literal_reader(spark).format("binaryFile").options(**options).load(list(paths))
