"""Listed files → decoded images, in Spark tasks that open the files themselves.

Only the listing crosses the JVM on the way in: file bytes never do, which halves the cost.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.archive import ArchiveReader
from skinclf.config import ArchiveConfig
from skinclf.errors import RejectedImage
from skinclf.image import decode_rgb
from skinclf.tables.spark_archive import with_contents

ROW = pa.field("row", pa.int64())
"""A listed file's place in the listing: its key, since two members of a zip may share a name."""

IMAGES = pa.schema(
    [
        ROW,
        ("source", pa.string()),
        ("image_id", pa.string()),
        ("digest", pa.string()),
        ("pixels", pa.binary()),  # null where the file was rejected
        ("reason", pa.string()),  # null where it was decoded
        ("detail", pa.string()),
    ]
)

IMAGES_PER_TASK = 500
"""About two seconds of one core: long enough to hide a task's start, short enough to balance."""


def listing_frame(spark: SparkSession, listing: pa.Table) -> DataFrame:
    """The listing as a DataFrame with `row`, in tasks of neighbouring files of equal number."""
    cores = spark.sparkContext.defaultParallelism
    count = listing.num_rows
    tasks = max(min(cores, count), -(-count // IMAGES_PER_TASK))
    numbers = pa.array(range(count), pa.int64())
    numbered = listing.append_column(ROW, numbers)
    frame = with_contents(spark.createDataFrame(numbered), listing)
    task = (F.col(ROW.name) * tasks / count).cast("int")
    return frame.repartitionById(tasks, task)


def decoded_images(listing: DataFrame, config: ArchiveConfig) -> DataFrame:
    """Read and decode every listed file → IMAGES, one row a file: pixels or a reason."""

    def decode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with ArchiveReader(config.max_file_bytes) as reader:
            for batch in batches:
                rows = [decoded_row(entry, reader, config) for entry in batch.to_pylist()]
                yield pa.RecordBatch.from_pylist(rows, schema=IMAGES)

    return listing.mapInArrow(decode, from_arrow_schema(IMAGES))


def decoded_row(
    entry: dict[str, Any], reader: ArchiveReader, config: ArchiveConfig
) -> dict[str, Any]:
    """One row of LISTING with `row` → one row of IMAGES."""
    row = {name: entry[name] for name in (ROW.name, "source", "image_id")}
    try:
        file = reader.read(entry)
        row["digest"] = hashlib.sha256(file).hexdigest()
        row["pixels"] = decode_rgb(file, max_pixels=config.max_pixels).tobytes()
    except RejectedImage as rejected:
        row |= {"reason": rejected.reason, "detail": rejected.detail}
    return row
