"""Tables of Spark's catalog: how they are named, and the images that one of them names."""

from collections.abc import Iterator

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from skinclf.archives.lists import URI_COLUMNS
from skinclf.errors import ArchiveError
from skinclf.spark.failures import root_cause


def quoted(name: str) -> str:
    """The name of a table as SQL reads it, whatever words and hyphens are in it."""
    return ".".join(f"`{part}`" for part in name.split("."))


def named_images(spark: SparkSession, name: str) -> Iterator[str]:
    """The images that a table names in one of URI_COLUMNS, row by row.

    Raises ArchiveError where there is no such table or column.
    """
    try:
        table = spark.table(quoted(name))
        columns = table.columns
    except (Py4JError, PySparkException) as error:
        raise ArchiveError(f"table:{name}: can't be read: {root_cause(str(error))}") from None
    column = next((known for known in URI_COLUMNS if known in columns), None)
    if column is None:
        raise ArchiveError(
            f"table:{name}: has the columns {', '.join(columns)}; a table of images names them in "
            f"one of {', '.join(URI_COLUMNS)}"
        )
    named = table.select(table[column].cast("string").alias(column)).where(f"{column} > ''")
    return (row[column] for row in named.toLocalIterator())
