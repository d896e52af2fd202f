"""Images on storage that only Hadoop's connectors reach: listed and read by Spark itself.

Spark's binaryFile source brings the bytes through the JVM, which costs about twice what tasks
pay that open the files themselves; archives are not looked into.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from py4j.protocol import Py4JError
from pyspark.errors import AnalysisException
from pyspark.errors.exceptions.captured import CapturedException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.archives import LISTING, Selection
from skinclf.archives.files import version_of
from skinclf.archives.names import image_id_of
from skinclf.config.schema import ArchiveConfig
from skinclf.errors import ArchiveError
from skinclf.spark.failures import root_cause
from skinclf.spark.reading import literal_reader, read_binary_files, readable_by_hadoop
from skinclf.storage.files import hadoop_path, locate

UNREADABLE = {"reason": "unsupported", "detail": "Hadoop can't read it: a colon in its path"}

KIND = "spark"
"""In LISTING.kind: the bytes come in a column `content`."""


def needs_spark(archive: ArchiveConfig, paths: Sequence[str]) -> bool:
    """Whether Spark has to read `paths`: asked for, or, by "auto", where pyarrow can't."""
    web = [path for path in paths if path.startswith(("http://", "https://"))]
    if web:
        raise ArchiveError(f"{web[0]}: files are not read from the web; download them first")
    if archive.reader == "auto":
        return not all(map(_reached_directly, paths))
    return archive.reader == "spark"


def spark_images(
    spark: SparkSession, paths: Sequence[str], selection: Selection
) -> Iterator[dict[str, Any]]:
    """Every file below `paths`, row by row of LISTING."""
    reader = literal_reader(spark).format("binaryFile").option("recursiveFileLookup", "true")
    try:
        files = reader.load([hadoop_path(path) for path in paths])
    except (Py4JError, CapturedException) as error:  # no such path, host or kind of storage
        raise ArchiveError(
            f"{', '.join(paths)}: can't be listed: {root_cause(str(error))}"
        ) from None
    found = files.select("path", "length", F.unix_micros("modificationTime").alias("changed"))
    for file in found.toLocalIterator():
        path = file["path"]
        name = path.rpartition("/")[2]
        if selection.includes(name) and not selection.excludes(name):
            yield dict.fromkeys(LISTING.names) | {
                "source": path,
                "image_id": image_id_of(name),
                "file": path,
                "kind": KIND,
                "size": file["length"],
                "version": version_of(1000 * file["changed"], file["length"]),
                **({} if readable_by_hadoop(path) else UNREADABLE),
            }


def with_contents(frame: DataFrame, paths: Sequence[str]) -> DataFrame:
    """Add `content` to a frame of LISTING of all that is below `paths`."""
    reader = literal_reader(frame.sparkSession).format("binaryFile")
    files = reader.option("recursiveFileLookup", "true").option("ignoreMissingFiles", "true")
    contents = files.load([hadoop_path(path) for path in paths])
    readable = F.col("path").alias("source"), F.col("content")
    return frame.join(contents.select(*readable), "source", "left")


def with_listed_contents(frame: DataFrame, listing: pa.Table) -> DataFrame:
    """Add `content` to a frame of LISTING, if any of its rows is read by Spark."""
    readable = pc.and_(pc.equal(listing["kind"], KIND), pc.is_null(listing["reason"]))
    paths = listing.filter(readable)["source"].to_pylist()
    if not paths:
        return frame
    contents = _contents(frame.sparkSession, paths)
    return frame.join(contents.select(F.col("path").alias("source"), "content"), "source", "left")


def _contents(spark: SparkSession, paths: list[str]) -> DataFrame:
    try:
        return read_binary_files(spark, paths)
    except AnalysisException:  # it refuses them all if one is gone by now
        there = [path for path in paths if _is_there(spark, path)]
        if not there:
            return spark.createDataFrame([], "path string, content binary")
        return read_binary_files(spark, there)


def _is_there(spark: SparkSession, path: str) -> bool:
    file = spark._jvm.org.apache.hadoop.fs.Path(path)  # type: ignore[union-attr]
    conf = spark._jsparkSession.sessionState().newHadoopConf()
    return bool(file.getFileSystem(conf).exists(file))


def _reached_directly(path: str) -> bool:
    try:
        locate(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        return False
    return True
