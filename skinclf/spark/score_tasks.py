"""One micro-batch: rows of the listing → their outcomes, by Spark tasks.

A task gets the places of its rows in the listing, reads them itself, opens, decodes and scores the
files that they name, and returns one table of outcomes: a few bytes an image. The driver has to see
each outcome once in order to commit it; where tasks wrote Parquet themselves, it would read their
files to make one of them. Neither listing, files nor pixels cross the JVM.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from skinclf.archives import LISTING
from skinclf.archives.decoding import Decoding, Entry
from skinclf.archives.reader import SPARK
from skinclf.spark.archive import with_contents_of
from skinclf.spark.decoding import Decoder, row_decoder
from skinclf.spark.file_tasks import packed, run_tasks, unpacked
from skinclf.spark.inference import prediction_columns, task_threads
from skinclf.spark.versions import frame_of, parallelism
from skinclf.spec.model import ModelLoader, Predict
from skinclf.spec.tables import outcomes_schema
from skinclf.storage.parquet_files import read_rows
from skinclf.storage.score_manifest import Piece

IMAGES_PER_TASK = 500
"""About two seconds of one core: long enough to hide a task's start, short enough to balance."""

FEW_PER_TASK = 100
"""Of so few, what a task's start and the end of a micro-batch take is a large part."""


@dataclass(frozen=True)
class Scorer:
    """What a task needs to score listed files; it goes to each of them."""

    model: ModelLoader
    start_decoder: Callable[[], AbstractContextManager[Decoder]]
    batch_size: int

    def outcomes(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Rows of LISTING (with `content` where Spark has read it) → a table of outcomes each."""
        predict = self.model.load(task_threads())
        schema = outcomes_schema(self.model.taxonomy)
        with self.start_decoder() as decoder:
            for table in tables:
                found = [
                    self._batch(table.slice(start, self.batch_size), decoder, predict, schema)
                    for start in range(0, table.num_rows, self.batch_size)
                ]
                yield pa.Table.from_batches(found, schema)

    def _batch(
        self, listed: pa.Table, decoder: Decoder, predict: Predict, schema: pa.Schema
    ) -> pa.RecordBatch:
        entries: list[Entry] = listed.to_pylist()
        rows = list(decoder(entries))
        columns = prediction_columns([row.get("pixels") for row in rows], predict, self.model) | {
            name: pa.array([row.get(name) for row in rows], pa.string())
            for name in ("source", "image_id", "reason", "detail")
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def scorer(spark: SparkSession, model: ModelLoader, decoding: Decoding, batch_size: int) -> Scorer:
    """The Scorer of a job."""
    return Scorer(model, row_decoder(spark, decoding), batch_size)


def outcomes_of(spark: SparkSession, pieces: Sequence[Piece], scorer: Scorer) -> pa.Table:
    """The outcomes of rows of the listing, in its order, by tasks that open the files."""
    tasks = cut(pieces, parallelism(spark))
    return pa.concat_tables(run_tasks(spark, tasks, lambda part: scorer.outcomes([_listed(part)])))


def outcomes_by_spark(
    spark: SparkSession, pieces: Sequence[Piece], scorer: Scorer, contents: DataFrame
) -> pa.Table:
    """The same where Spark has to read the files: `contents` is what `archive_contents` gives."""
    listed = _listed(pieces)
    frame = frame_of(spark, listed)
    files = [
        row["file"]
        for row in listed.select(["file", "kind", "reason"]).to_pylist()
        if row["kind"] == SPARK and row["reason"] is None
    ]

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for found in scorer.outcomes(pa.Table.from_batches([batch]) for batch in batches):
            yield pa.RecordBatch.from_pydict({"packed": [packed(found)]})

    rows = with_contents_of(frame, contents, files).mapInArrow(score, "packed binary").collect()
    return pa.concat_tables([unpacked(bytes(row["packed"])) for row in rows])


def cut(pieces: Sequence[Piece], cores: int) -> list[list[Piece]]:
    """Divide rows among tasks of like size, neighbors together."""
    count = sum(piece.rows for piece in pieces)
    tasks = max(min(cores, count), -(-count // IMAGES_PER_TASK))
    ends = [count * (task + 1) // tasks for task in range(tasks)]
    parts: list[list[Piece]] = [[] for _ in ends]
    task = place = 0
    for piece in pieces:
        start, rest = piece.start, piece.rows
        while rest:
            rows = min(rest, ends[task] - place)
            parts[task].append(Piece(piece.name, start, rows))
            start, rest, place = start + rows, rest - rows, place + rows
            task += place == ends[task]
    return parts


def _listed(pieces: Iterable[Piece]) -> pa.Table:
    parts = [read_rows(piece.name, piece.start, piece.rows) for piece in pieces]
    return pa.concat_tables(parts).select(LISTING.names)
