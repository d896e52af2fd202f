"""Pixels → probabilities inside Spark tasks. Spark code never learns what a network is."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from skinclf.archives.decoding import Decoding, Entry
from skinclf.config.schema import ArchiveConfig
from skinclf.spark.decoding import row_decoder
from skinclf.spec.tables import (
    CHANNELS,
    HEIGHT,
    PIXEL_BYTES,
    PREDICTIONS,
    REJECTS,
    SCORES,
    TENSOR_METADATA,
    WIDTH,
)
from skinclf.spec.taxonomy import CODES, probability_column

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

ANSWERS = pa.schema([SCORES.field(n) for n in SCORES.names if n not in {"source", "image_id"}])
"""What comes from the model."""

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
    listing: DataFrame, factory: Factory, decoding: Decoding, batch_images: int
) -> DataFrame:
    """Read, decode and score every listed file in one pass → OUTCOMES, one row a file.

    Pixels live and die in the Python worker: they never cross the JVM.
    """
    start_decoder = row_decoder(listing.sparkSession, decoding)

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        predict = factory.load(_task_threads())
        with start_decoder() as decoder:
            for batch in batches:
                for start in range(0, batch.num_rows, batch_images):
                    rows = list(decoder(batch.slice(start, batch_images).to_pylist()))
                    yield _outcomes(rows, predict, factory.digest)

    return listing.mapInArrow(score, from_arrow_schema(OUTCOMES))


def with_scores(
    images: DataFrame,
    factory: Factory,
    column: str = "content",
    batch_images: int = 64,
    limits: ArchiveConfig | None = None,
) -> DataFrame:
    """Add the model's answers to any DataFrame that has images: for jobs of one's own.

    `column` holds the bytes of image files (as Spark's binaryFile source gives them), a struct
    with them in `bytes` (as Hugging Face writes it), or, if it is called `pixels`, tensors of
    22,500 bytes. Added are probability_akiec … probability_vasc, `predicted`, `model` and
    `reject`: why an image has no scores, null where it has. No row is lost. `limits` are those of
    `[archive]` in the config; None: its defaults.

    `factory` is `skinclf.training.predictor.Predictor.of_run(run)`. Bytes that come through Spark
    cost twice what `skinclf score` takes, whose tasks open the files themselves.
    """
    added = pa.schema([*ANSWERS, ("reject", pa.string())])
    field = images.schema[column].dataType
    inside = isinstance(field, StructType)
    start_decoder = row_decoder(images.sparkSession, Decoding(limits or ArchiveConfig()))

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        predict = factory.load(_task_threads())
        with start_decoder() as decoder:
            for batch in batches:
                for start in range(0, batch.num_rows, batch_images):
                    rows = batch.slice(start, batch_images)
                    files = rows[column].field("bytes") if inside else rows[column]
                    decoded = (
                        [_checked_tensor(file) for file in files.to_pylist()]
                        if column == "pixels"
                        else list(decoder(_file_entry(file) for file in files.to_pylist()))
                    )
                    found = answers([row.get("pixels") for row in decoded], predict, factory.digest)
                    reasons = pa.array([_reject_text(row) for row in decoded], pa.string())
                    columns = [*rows.columns, *(found[n] for n in ANSWERS.names), reasons]
                    schema = pa.schema([*rows.schema, *added])
                    yield pa.RecordBatch.from_arrays(columns, schema=schema)

    types = StructType([*images.schema.fields, *from_arrow_schema(added).fields])
    return images.mapInArrow(score, types)


def predicted_tensors(tensors: DataFrame, factory: Factory, batch_images: int) -> DataFrame:
    """Predict TENSORS → PREDICTIONS, the truth beside each answer."""
    columns = [*PREDICTIONS.names[:2], *TENSOR_METADATA, "pixels"]

    def predict_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        predict = factory.load(_task_threads())
        for batch in batches:
            for start in range(0, batch.num_rows, batch_images):
                rows = batch.slice(start, batch_images)
                found = answers(rows["pixels"].to_pylist(), predict, factory.digest)
                known = {n: rows[n] for n in rows.schema.names if n != "pixels"}
                yield _batch(known | found, PREDICTIONS)

    return tensors.select(*columns).mapInArrow(predict_batches, from_arrow_schema(PREDICTIONS))


def answers(pixels: Sequence[bytes | None], predict: Predict, model: str) -> dict[str, pa.Array]:
    """The columns of ANSWERS for images of 22,500 bytes each; null where there is no image."""
    known = [image for image in pixels if image is not None]
    found = np.empty((0, len(CODES)), np.float32)
    if known:
        found = predict(_stack(known))
    columns: dict[str, pa.Array] = {
        probability_column(code): pa.array(found[:, label]) for label, code in enumerate(CODES)
    }
    codes = [CODES[label] for label in found.argmax(axis=1)]
    columns["predicted"] = pa.array(codes, pa.string())
    columns["model"] = pa.array([model] * len(found), pa.string())
    place = count()
    rows = pa.array([None if image is None else next(place) for image in pixels], pa.int32())
    return {name: column.take(rows) for name, column in columns.items()}


def _outcomes(rows: list[dict[str, Any]], predict: Predict, model: str) -> pa.RecordBatch:
    """Decoded rows (of tables.images) → one batch of OUTCOMES; rejects have no probabilities."""
    columns = answers([row.get("pixels") for row in rows], predict, model)
    columns |= {
        name: pa.array([row.get(name) for row in rows], pa.string())
        for name in ("source", "image_id", "reason", "detail")
    }
    return _batch(columns, OUTCOMES)


def _batch(columns: dict[str, pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _stack(pixels: Sequence[bytes]) -> NDArray[np.uint8]:
    """Byte strings → (n, 75, 100, 3) uint8."""
    return np.frombuffer(b"".join(pixels), np.uint8).reshape(-1, HEIGHT, WIDTH, CHANNELS)


def _file_entry(file: bytes | None) -> Entry:
    """The bytes of a file as an entry that has been read."""
    known = {"kind": "spark", "content": file or b"", "size": len(file or b"")}
    return dict.fromkeys(("row", "source", "image_id", "reason", "detail")) | known


def _checked_tensor(pixels: bytes | None) -> dict[str, Any]:
    if pixels is not None and len(pixels) == PIXEL_BYTES:
        return {"pixels": pixels}
    return {"reason": "unreadable", "detail": f"not {PIXEL_BYTES} bytes"}


def _reject_text(row: dict[str, Any]) -> str | None:
    return f"{row['reason']}: {row['detail']}" if "reason" in row else None


def _task_threads() -> int:
    task = TaskContext.get()
    return task.cpus() if task else 1
