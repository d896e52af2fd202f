"""Images on storage that only Hadoop's connectors reach: listed and read by Spark itself.

Spark's binaryFile source brings the bytes through the JVM, which costs about twice what tasks
pay that open the files themselves; archives are not looked into.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.archive import LISTING, fits
from skinclf.config import ArchiveConfig
from skinclf.storage import hadoop_path, locate

KIND = "spark"
"""In LISTING.kind: the bytes come in a column `content`."""


def needs_spark(archive: ArchiveConfig, paths: Sequence[str]) -> bool:
    """Whether Spark has to read `paths`: asked for, or, by "auto", where pyarrow can't."""
    if archive.reader == "auto":
        return not all(map(_reached_directly, paths))
    return archive.reader == "spark"


def spark_images(
    spark: SparkSession, paths: Sequence[str], include: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Every file below `paths`, row by row of LISTING."""
    files = _binary_files(spark, paths).select("path", "length", "modificationTime")
    for file in files.toLocalIterator():
        path = file["path"]
        row = dict.fromkeys(LISTING.names) | {
            "source": path,
            "image_id": PurePosixPath(path).stem,
            "file": path,
            "kind": KIND,
            "size": file["length"],
            "stamp": file["modificationTime"].isoformat(),
        }
        if fits(row, include):
            yield row


def with_contents(frame: DataFrame, listing: pa.Table) -> DataFrame:
    """Add `content` to a frame of LISTING, if any of its rows is read by Spark."""
    paths = [
        row["source"]
        for row in listing.select(["source", "kind"]).to_pylist()
        if row["kind"] == KIND
    ]
    if not paths:
        return frame
    files = frame.sparkSession.read.format("binaryFile").load(paths)
    contents = files.select(F.col("path").alias("source"), "content")
    return frame.join(contents, "source", "left")


def _reached_directly(path: str) -> bool:
    try:
        locate(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        return False
    return True


def _binary_files(spark: SparkSession, paths: Sequence[str]) -> DataFrame:
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    return reader.load([hadoop_path(path) for path in paths])
