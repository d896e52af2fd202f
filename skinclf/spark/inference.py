"""Pixels → probabilities inside Spark tasks. Spark code never learns what a network is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import BinaryType, StructType

from skinclf.archives.decoding import Decoding, Entry
from skinclf.archives.reader import SPARK
from skinclf.config.schema import ArchiveConfig
from skinclf.errors import UsageError
from skinclf.spark.decoding import row_decoder
from skinclf.spark.file_tasks import divided, run_tasks
from skinclf.spark.versions import parallelism
from skinclf.spec.decision import decide
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.model import ModelLoader, Predict
from skinclf.spec.tables import (
    TENSOR_METADATA,
    prediction_schema,
    predictions_schema,
)
from skinclf.spec.taxonomy import probability_column
from skinclf.storage.parquet_files import iter_batches

FILES_A_TASK = 4


def with_scores(
    images: DataFrame,
    model: ModelLoader,
    column: str = "content",
    batch_size: int = 64,
    limits: ArchiveConfig | None = None,
) -> DataFrame:
    """Add the model's predictions to any DataFrame that has images: for jobs of one's own.

    `column` holds the bytes of image files (as Spark's binaryFile source gives them), a struct
    with them in `bytes` (as Hugging Face writes it), or, if it is called `pixels`, tensors of
    the model's size. Added are probability_akiec … probability_vasc (one a class), `predicted`,
    `model` and `reject`: why an image has no scores, null where it has. No row is lost. `limits`
    are those of `[archive]` in the config; None: its defaults. Raises UsageError where there is no
    such column of such a type, or where there are columns of these names.

    `model` is `skinclf.training.predictor.Predictor.of_run(run)`. Bytes that come through Spark
    cost twice what `skinclf score` takes, whose tasks open the files themselves.
    """
    given = prediction_schema(model.taxonomy)
    added = pa.schema([*given, ("reject", pa.string())])
    inside = _check_columns(images, column, added.names)
    start_decoder = row_decoder(
        images.sparkSession, Decoding(limits or ArchiveConfig(), image=model.image)
    )

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        predict = model.load(task_threads())
        with start_decoder() as decoder:
            for batch in batches:
                for start in range(0, batch.num_rows, batch_size):
                    rows = batch.slice(start, batch_size)
                    files = rows[column].field("bytes") if inside else rows[column]
                    decoded = (
                        [_checked_tensor(file, model.image) for file in files.to_pylist()]
                        if column == "pixels"
                        else list(decoder(_file_entry(file) for file in files.to_pylist()))
                    )
                    found = prediction_columns(
                        [row.get("pixels") for row in decoded], predict, model
                    )
                    reasons = pa.array([_reject_text(row) for row in decoded], pa.string())
                    columns = [*rows.columns, *(found[n] for n in given.names), reasons]
                    schema = pa.schema([*rows.schema, *added])
                    yield pa.RecordBatch.from_arrays(columns, schema=schema)

    types = StructType([*images.schema.fields, *from_arrow_schema(added).fields])
    return images.mapInArrow(score, types)


def _check_columns(images: DataFrame, column: str, added: Sequence[str]) -> bool:
    """Raise UsageError where `column` holds no files, or columns that are to be `added` are there:
    Spark's names have no case → whether the files are in its field `bytes`.
    """
    there = ", ".join(images.columns)
    taken = {name.lower() for name in images.columns} & {name.lower() for name in added}
    if taken:
        raise UsageError(
            f"with_scores: the DataFrame has {there}; {', '.join(sorted(taken))} would be added: "
            f"rename or drop them"
        )
    if column not in images.columns:
        raise UsageError(f"with_scores: the DataFrame has {there}; there is no column {column}")
    field = images.schema[column].dataType
    inside = isinstance(field, StructType) and "bytes" in field.names
    holds = field["bytes"].dataType if isinstance(field, StructType) and inside else field
    if not isinstance(holds, BinaryType):
        raise UsageError(
            f"with_scores: the column {column} is {field.simpleString()}; the bytes of image files "
            f"are expected (binary), or a struct with them in bytes"
        )
    return inside


def predicted_files(
    spark: SparkSession,
    sets: Mapping[str, Sequence[str]],
    model: ModelLoader,
    batch_size: int,
) -> dict[str, pa.Table]:
    """Predict the tensors of several sets: name → files of TENSORS → predictions, in their order.

    Tasks read the files themselves, and all sets are one job: the model is loaded once a worker.
    """
    schema = pa.schema([*predictions_schema(model.taxonomy), ("set", pa.string())])
    columns = ["source", "image_id", *TENSOR_METADATA, "pixels"]

    def predict(files: Iterable[tuple[str, str]]) -> Iterator[pa.Table]:
        predict_batch = model.load(task_threads())
        for name, file in files:
            for rows in iter_batches(file, columns, batch_size):
                found = prediction_columns(rows["pixels"].to_pylist(), predict_batch, model)
                known = {n: rows[n] for n in rows.schema.names if n != "pixels"}
                known["set"] = pa.array([name] * len(rows), pa.string())
                yield pa.table([(known | found)[n] for n in schema.names], schema)

    files = [(name, file) for name, found in sets.items() for file in found]
    cores = parallelism(spark)
    tasks = divided(files, max(cores, len(files) // FILES_A_TASK))
    table = pa.concat_tables([schema.empty_table(), *run_tasks(spark, tasks, predict)])
    return {name: table.filter(pc.equal(table["set"], name)).drop_columns("set") for name in sets}


def prediction_columns(
    pixels: Sequence[bytes | None], predict: Predict, model: ModelLoader
) -> dict[str, pa.Array]:
    """The columns of prediction_schema for the `pixels` of images; null where there is no image."""
    known = [image for image in pixels if image is not None]
    codes = model.taxonomy.codes
    found = np.empty((0, len(codes)), np.float32)
    if known:
        found = predict(np.frombuffer(b"".join(known), np.uint8).reshape(-1, *model.image.shape))
    columns: dict[str, pa.Array] = {
        probability_column(code): pa.array(found[:, label]) for label, code in enumerate(codes)
    }
    predicted = [codes[label] for label in decide(found, model.weights)]
    columns["predicted"] = pa.array(predicted, pa.string())
    columns["model"] = pa.array([model.digest] * len(found), pa.string())
    place = count()
    rows = pa.array([None if image is None else next(place) for image in pixels], pa.int32())
    return {name: column.take(rows) for name, column in columns.items()}


def _file_entry(file: bytes | None) -> Entry:
    """The bytes of a file as an entry that has been read."""
    known = {"kind": SPARK, "content": file or b"", "size": len(file or b"")}
    return dict.fromkeys(("row", "source", "image_id", "reason", "detail")) | known


def _checked_tensor(pixels: bytes | None, image: ImageSpec) -> dict[str, Any]:
    if pixels is not None and len(pixels) == image.size_bytes:
        return {"pixels": pixels}
    return {"reason": "unreadable", "detail": f"not {image.size_bytes} bytes"}


def _reject_text(row: dict[str, Any]) -> str | None:
    return f"{row['reason']}: {row['detail']}" if "reason" in row else None


def task_threads() -> int:
    """The cores of the Spark task that asks; 1 outside of one."""
    task = TaskContext.get()
    return task.cpus() if task else 1
