"""Images on storage that only Hadoop's connectors reach: listed and read by Spark itself.

Spark's binaryFile source brings the bytes through the JVM, which costs about twice what tasks
pay that open the files themselves; archives are not looked into.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.archives import LISTING, Selection
from skinclf.archives.files import version_of
from skinclf.archives.formats import is_archive
from skinclf.archives.lists import TABLE
from skinclf.archives.names import image_id_of
from skinclf.archives.reader import SPARK
from skinclf.config.schema import ArchiveConfig
from skinclf.errors import ArchiveError, UnknownStorage
from skinclf.spark.failures import root_cause
from skinclf.spark.reading import binary_files, read_binary_files, readable_by_hadoop
from skinclf.spark.versions import is_connect, lists_hidden_names
from skinclf.storage.files import hadoop_options, hadoop_path, locate

log = logging.getLogger(__name__)

UNREADABLE = {"reason": "unsupported", "detail": "Hadoop can't read it: a colon in its path"}

CLOSED = {
    "reason": "unsupported",
    "detail": "archives are not looked into where Spark reads the files (archive.reader)",
}

FILE_PATH = "_metadata.file_path"
"""A file's URI, %-encoded as Hadoop does it. Spark compares it before it opens a file."""


def needs_spark(archive: ArchiveConfig, paths: Sequence[str]) -> bool:
    """Whether Spark has to read `paths`: asked for, or, by "auto", where pyarrow can't."""
    web = [path for path in paths if path.startswith(("http://", "https://"))]
    if web:
        raise ArchiveError(f"{web[0]}: files are not read from the web; download them first")
    by_spark = archive.reader == "spark"
    if archive.reader == "auto":
        by_spark = not all(map(_reached_directly, paths))
    tables = [path for path in paths if path.startswith(TABLE)]
    if by_spark and tables:
        raise ArchiveError(
            f"{tables[0]}: the images of a table are opened by pyarrow; Spark does not read them "
            f'for it (archive.reader = "spark", or a path beside it that only Spark reaches)'
        )
    return by_spark


def spark_images(
    spark: SparkSession, paths: Sequence[str], leave_out: Sequence[str], selection: Selection
) -> Iterator[dict[str, Any]]:
    """Every file below `paths`, row by row of LISTING, without those at or below `leave_out`.

    Warns where this Spark does not list all names.
    """
    if not lists_hidden_names(spark):
        log.warning(
            "Spark %s does not list files whose names begin with _ or a point: they are left out. "
            "Spark 4.3 does",
            spark.version,
        )
    roots = [_place(hadoop_path(path)) for path in paths]
    others = [_place(hadoop_path(path)) for path in leave_out]
    for path, root in zip(paths, roots, strict=True):
        for left_out, other in zip(leave_out, others, strict=True):
            if _is_within(root, other):
                raise ArchiveError(f"{path}: lies in {left_out}, which is no part of the archive")
    try:
        files = binary_files(spark, *paths).load([hadoop_path(path) for path in paths])
    except (Py4JError, PySparkException) as error:  # no such path, host or kind of storage
        raise ArchiveError(
            f"{', '.join(paths)}: can't be listed: {root_cause(str(error))}"
        ) from None
    changed = F.unix_micros("modificationTime").alias("changed")
    found = files.select("path", F.col(FILE_PATH).alias("file"), "length", changed)
    for file in found.toLocalIterator():
        path = file["path"]
        name, place = path.rpartition("/")[2], _place(path)
        if any(_is_within(place, other) for other in others):
            continue
        depths = [len(root.path) for root in roots if _is_within(place, root)]
        below = place.path[max(depths, default=0) :]  # "" of a file that was named itself
        if below and selection.excludes(below):
            continue
        if is_archive(name) or selection.is_included(name):
            yield dict.fromkeys(LISTING.names) | {
                "source": path,
                "image_id": image_id_of(name),
                "file": file["file"],
                "kind": SPARK,
                "size": file["length"],
                "version": version_of(1000 * file["changed"], file["length"]),
                **_refusal(path),
            }


def _refusal(path: str) -> dict[str, str]:
    """The reason and the detail of a file that Spark does not read as an image; else none."""
    if not readable_by_hadoop(path):
        return UNREADABLE
    return CLOSED if is_archive(path) else {}


class _Place(NamedTuple):
    scheme: str
    authority: str  # host or container; Hadoop may leave it out, or add it
    path: str


def _place(uri: str) -> _Place:
    """The parts of a path of Hadoop's."""
    match = re.match(r"(?:([A-Za-z][\w+.-]*):(?://([^/]*))?)?", uri)
    scheme, authority = match.groups("") if match else ("", "")
    path = uri[match.end() if match else 0 :]
    return _Place(scheme.lower(), authority, path.rstrip("/"))


def _is_within(place: _Place, folder: _Place) -> bool:
    authorities = {place.authority, folder.authority} - {""}
    is_elsewhere = place.scheme != folder.scheme or len(authorities) > 1
    return not is_elsewhere and f"{place.path}/".startswith(f"{folder.path}/")


def with_contents(frame: DataFrame, paths: Sequence[str], max_file_bytes: int) -> DataFrame:
    """Add `content` to a frame of LISTING that `spark_images` made of `paths`; null for files that
    are gone by now or have more than `max_file_bytes`, which Spark may not be able to read.
    """
    return joined(frame, archive_contents(frame.sparkSession, paths, max_file_bytes))


def with_contents_of(frame: DataFrame, contents: DataFrame, files: Sequence[str]) -> DataFrame:
    """The same for a frame of a few files of an archive, of which no others are read.

    `contents` comes from `archive_contents` and can be used again and again; `files` are LISTING's.
    """
    # As one expression: a literal for each file would be a call to the JVM for each. Hadoop's URIs
    # have no backslashes.
    names = ", ".join("'{}'".format(file.replace("'", r"\'")) for file in files)
    return joined(frame, contents.where(f"file IN ({names})" if files else "false"))


def archive_contents(spark: SparkSession, paths: Sequence[str], max_file_bytes: int) -> DataFrame:
    """`file` and `content` of all files below `paths`: listed here and once, read when used.

    Files of more than `max_file_bytes` are left out.
    """
    named = outermost(map(hadoop_path, paths))
    folders = [folder for folder in named if _is_there(spark, folder, paths)]
    if not folders:
        return spark.createDataFrame([], "file string, content binary")
    files = reduce(DataFrame.unionAll, (read_binary_files(spark, one, *paths) for one in folders))
    files = files.where(F.col("length") <= max_file_bytes)
    return files.select(F.col(FILE_PATH).alias("file"), "content")


def outermost(paths: Iterable[str]) -> list[str]:
    """Hadoop's `paths` without those that lie below another: each file is read once."""
    found = {path.rstrip("/"): path for path in paths}
    return sorted(path for bare, path in found.items() if found.keys().isdisjoint(_above(bare)))


def _above(path: str) -> Iterator[str]:
    """The folders that a path is below, itself left out."""
    while "/" in path:
        path = path.rpartition("/")[0].rstrip("/")
        yield path


def joined(frame: DataFrame, contents: DataFrame) -> DataFrame:
    """Add `content` to a frame of LISTING, by `file`."""
    return frame.join(contents, "file", "left")


def _is_there(spark: SparkSession, path: str, paths: Sequence[str]) -> bool:
    if is_connect(spark):
        try:
            return bool(read_binary_files(spark, path, *paths).columns)  # analysed by asking
        except AnalysisException as error:
            if "PATH_NOT_FOUND" in str(error):
                return False
            raise
    file = spark._jvm.org.apache.hadoop.fs.Path(path)  # type: ignore[union-attr]
    conf = spark._jsparkSession.sessionState().newHadoopConf()
    for key, value in chain.from_iterable(hadoop_options(one).items() for one in paths):
        conf.set(key, value)
    return bool(file.getFileSystem(conf).exists(file))


def _reached_directly(path: str) -> bool:
    """Whether pyarrow knows this kind of storage, be it away at the moment."""
    try:
        locate(path)
    except (UnknownStorage, pa.ArrowNotImplementedError):
        return False
    except OSError:
        return True  # what the matter is, its listing says
    return True
