"""Pixels → probabilities inside Spark tasks. Spark code never learns what a network is."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.archive import ArchiveReader
from skinclf.config import ArchiveConfig
from skinclf.labels import CODES, probability_column
from skinclf.schemas import (
    CHANNELS,
    HEIGHT,
    PREDICTIONS,
    REJECTS,
    SCORES,
    TENSOR_METADATA,
    WIDTH,
)
from skinclf.tables.images import decoded_row

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

OUTCOMES = pa.schema([*SCORES, REJECTS.field("reason"), REJECTS.field("detail")])
"""A score, or the reason why there is none: one row a listed file."""


class Factory(Protocol):
    """What a task needs of a model: its name, and the function once it is loaded."""

    @property
    def digest(self) -> str:
        """The model's SHA-256."""

    def load(self, threads: int) -> Predict:
        """(n, 75, 100, 3) uint8 → (n, 7) float32, computing on `threads` cores."""


def scored_files(
    listing: DataFrame, factory: Factory, archive: ArchiveConfig, batch_images: int
) -> DataFrame:
    """Read, decode and score every listed file in one pass → OUTCOMES, one row a file.

    Pixels live and die in the Python worker: they never cross the JVM.
    """

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        predict = factory.load(_task_threads())
        with ArchiveReader(archive.max_file_bytes) as reader:
            for batch in batches:
                for start in range(0, batch.num_rows, batch_images):
                    entries = batch.slice(start, batch_images).to_pylist()
                    rows = [decoded_row(entry, reader, archive) for entry in entries]
                    yield _outcomes(rows, predict, factory.digest)

    return listing.mapInArrow(score, from_arrow_schema(OUTCOMES))


def predicted_tensors(tensors: DataFrame, factory: Factory, batch_images: int) -> DataFrame:
    """Predict TENSORS → PREDICTIONS, the truth beside each answer."""
    columns = [*PREDICTIONS.names[:2], *TENSOR_METADATA, "pixels"]

    def predict_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        predict = factory.load(_task_threads())
        for batch in batches:
            for start in range(0, batch.num_rows, batch_images):
                rows = batch.slice(start, batch_images)
                answers = score_columns(predict(_stack(rows["pixels"])), factory.digest)
                known = {n: rows[n] for n in rows.schema.names if n != "pixels"}
                yield _batch(known | answers, PREDICTIONS)

    return tensors.select(*columns).mapInArrow(predict_batches, from_arrow_schema(PREDICTIONS))


def score_columns(probabilities: NDArray[np.float32], model: str) -> dict[str, pa.Array]:
    """The columns of SCORES that come from the model; probabilities: (n, 7)."""
    columns: dict[str, pa.Array] = {
        probability_column(code): pa.array(probabilities[:, label])
        for label, code in enumerate(CODES)
    }
    columns["predicted"] = pa.array([CODES[label] for label in probabilities.argmax(axis=1)])
    columns["model"] = pa.array([model] * len(probabilities))
    return columns


def _outcomes(rows: list[dict[str, Any]], predict: Predict, model: str) -> pa.RecordBatch:
    """Decoded rows (of tables.images) → one batch of OUTCOMES; rejects have no probabilities."""
    scored = [row for row in rows if "pixels" in row]
    rejected = [row for row in rows if "pixels" not in row]
    answers: dict[str, pa.Array] = {}
    if scored:
        answers = score_columns(predict(_stack([row["pixels"] for row in scored])), model)
    ordered = scored + rejected
    columns = {
        name: pa.array([row.get(name) for row in ordered], pa.string())
        for name in ("source", "image_id", "reason", "detail")
    }
    for field in SCORES:
        if field.name not in columns:
            known = answers.get(field.name, pa.nulls(0, field.type))
            columns[field.name] = pa.concat_arrays([known, pa.nulls(len(rejected), field.type)])
    return _batch(columns, OUTCOMES)


def _batch(columns: dict[str, pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _stack(pixels: Iterable[Any]) -> NDArray[np.uint8]:
    """Byte strings → (n, 75, 100, 3) uint8."""
    raw = b"".join(p if isinstance(p, bytes) else p.as_py() for p in pixels)
    return np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, CHANNELS)


def _task_threads() -> int:
    task = TaskContext.get()
    return task.cpus() if task else 1
