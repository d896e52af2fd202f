"""What decodes listed files in a Spark task, which opens the files itself."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from pyspark import TaskContext, cloudpickle
from pyspark.sql import SparkSession

from skinclf.archives import ArchiveReader
from skinclf.archives.decoding import Decoding, Entry, decoded_row
from skinclf.archives.isolation import IsolatedDecoder
from skinclf.spark.versions import master_of

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
    master = master_of(spark)
    if master.startswith("local") and not master.startswith("local-cluster"):
        failures = re.search(r"\[[^,\]]+,\s*(\d+)\]", master)  # local[THREADS, FAILURES]
        return failures is not None and int(failures[1]) > 1
    return spark.conf.get("spark.task.maxFailures", "4") != "1"
