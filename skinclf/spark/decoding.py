"""Listed files → decoded images, in Spark tasks that open the files themselves.

Only the listing crosses the JVM on the way in: file bytes never do, which halves the cost.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark import TaskContext, cloudpickle
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.archives import ArchiveReader
from skinclf.archives.decoding import Decoding, Entry, decoded_row
from skinclf.archives.isolation import IsolatedDecoder
from skinclf.spark.archive import contents_below, folders_of, joined

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
    frame = spark.createDataFrame(numbered)
    folders = folders_of(listing)
    frame = joined(frame, contents_below(spark, folders)) if folders else frame
    task = (F.col(ROW.name) * tasks / count).cast("int")
    return frame.repartitionById(tasks, task)


def decoded_images(listing: DataFrame, decoding: Decoding) -> DataFrame:
    """Read and decode every listed file → IMAGES, one row a file: pixels or a reason."""
    start_decoder = row_decoder(listing.sparkSession, decoding)

    def decode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with start_decoder() as decoder:
            for batch in batches:
                rows = list(decoder(batch.to_pylist()))
                yield pa.RecordBatch.from_pylist(rows, schema=IMAGES)

    return listing.mapInArrow(decode, from_arrow_schema(IMAGES))


Decoder = Callable[[Iterable[Entry]], Iterable[dict[str, Any]]]
"""Listed files → their rows of `decoded_row`."""


def row_decoder(
    spark: SparkSession, decoding: Decoding
) -> Callable[[], AbstractContextManager[Decoder]]:
    """What a task calls for its Decoder: in its own process, or in another if that one died.

    A file may end the process that decodes it. Spark then tries the task again; from the second
    attempt on each file is decoded where its end ends nothing else. Where Spark does not try
    again, the first attempt does so.
    """
    return partial(_task_decoder, decoding, isolated=not tries_again(spark))


@contextmanager
def _task_decoder(decoding: Decoding, *, isolated: bool) -> Iterator[Decoder]:
    task = TaskContext.get()
    if task is not None:  # in a worker's stderr they do not say which image it is
        warnings.filterwarnings("ignore", module=r"PIL\.")
    if isolated or (task is not None and task.attemptNumber() > 0):
        with IsolatedDecoder(decoding, cloudpickle.dumps) as isolated_decoder:
            yield isolated_decoder.rows
        return
    with ArchiveReader(decoding.limits.max_file_bytes) as reader:
        yield lambda entries: (
            decoded_row(entry, reader, decoding, end_process=task is not None) for entry in entries
        )


def tries_again(spark: SparkSession) -> bool:
    """Whether Spark tries a failed task again: its local mode does only if the master says so."""
    master = spark.sparkContext.master or ""
    failures = re.search(r"\[[^,\]]+,\s*(\d+)\]", master)  # local[THREADS, FAILURES]
    return not master.startswith("local") or (failures is not None and int(failures[1]) > 1)
