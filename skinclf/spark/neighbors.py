"""Which images a model takes for alike: for each tested image the nearest one that it has seen."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import Broadcast
from pyspark.sql import SparkSession

from skinclf.spark.file_tasks import divided, run_tasks
from skinclf.spark.inference import task_threads
from skinclf.spark.versions import parallelism
from skinclf.spec.image_spec import ImageSpec
from skinclf.storage.parquet_files import iter_batches

Matrix = NDArray[np.float32]

EMBEDDED = pa.schema([("image_id", pa.string()), ("embedding", pa.binary())])
NEIGHBORS = pa.schema(
    [("image_id", pa.string()), ("training_image_id", pa.string()), ("similarity", pa.float32())]
)
"""`similarity` is the cosine of two embeddings less their mean: 1 where they are the same."""


MOST_TESTED = 65_536
"""Images that are compared at a time: a task holds 64 similarities of each."""

MOST_RETURNED = 4_000_000
"""Rows that all tasks return at a time, some 120 MB: each has one for each tested image."""


class Embedder(Protocol):
    """What a task needs of a model."""

    def load(self, threads: int) -> Callable[[NDArray[np.uint8]], Matrix]:
        """(n, height, width, 3) uint8 → (n, features) float32, on `threads` cores."""


def nearest_seen(
    spark: SparkSession,
    tested: Sequence[str],
    seen: Sequence[str],
    model: Embedder,
    image: ImageSpec,
    batch_size: int,
) -> pa.Table:
    """NEIGHBORS of the tested images in files of TENSORS, each with the most similar of the images
    in the files `seen`; the most similar first. Empty where one side is.

    The embeddings of the tested images go to every task, four bytes a feature; those of the seen
    ones stay there. Where the tested ones are too many to be compared at a time, the seen ones are
    embedded more than once.
    """
    cores = parallelism(spark)
    found = run_tasks(spark, divided(tested, cores), partial(_embedded, model, image, batch_size))
    table = pa.concat_tables([EMBEDDED.empty_table(), *found])
    if not len(table):
        return NEIGHBORS.empty_table()
    embeddings = _matrix(table["embedding"])
    mean = embeddings.mean(axis=0)
    tasks = divided(seen, cores)
    at_a_time = min(MOST_TESTED, -(-MOST_RETURNED // max(len(tasks), 1)))
    nearest = [NEIGHBORS.empty_table()]
    for start in range(0, len(table) if tasks else 0, at_a_time):
        some = slice(start, start + at_a_time)
        sent = spark.sparkContext.broadcast((_directions(embeddings[some] - mean), mean))
        parts = run_tasks(spark, tasks, partial(_nearest, sent, model, image, batch_size))
        sent.destroy()
        nearest.append(_nearest_of(table["image_id"][some], parts))
    order = [("similarity", "descending"), ("image_id", "ascending")]
    return pa.concat_tables(nearest).sort_by(order)


def _nearest_of(ids: pa.ChunkedArray, parts: Sequence[pa.Table]) -> pa.Table:
    """NEIGHBORS of the tested images `ids`: the nearest of those that each task has found."""
    similarities = np.stack([part["similarity"].to_numpy() for part in parts])
    best = similarities.argmax(axis=0)
    names = [part["training_image_id"] for part in parts]
    return pa.table(
        [
            ids,
            pa.array([names[part][row].as_py() for row, part in enumerate(best)], pa.string()),
            pa.array(similarities.max(axis=0)),
        ],
        schema=NEIGHBORS,
    )


def _embedded(
    model: Embedder, image: ImageSpec, batch_size: int, files: Iterable[str]
) -> Iterator[pa.Table]:
    for ids, embeddings in _embeddings(model, image, batch_size, files):
        yield pa.table([ids, pa.array([row.tobytes() for row in embeddings])], schema=EMBEDDED)


def _nearest(
    tested: Broadcast[tuple[Matrix, Matrix]],
    model: Embedder,
    image: ImageSpec,
    batch_size: int,
    files: Iterable[str],
) -> Iterator[pa.Table]:
    """For each tested image, in their order, the nearest one in `files`."""
    directions, mean = tested.value
    similarity = np.full(len(directions), -np.inf, np.float32)
    names = np.full(len(directions), None, object)
    for ids, embeddings in _embeddings(model, image, batch_size, files):
        cosines = directions @ _directions(embeddings - mean).T
        nearest = cosines.argmax(axis=1)
        values = cosines[np.arange(len(directions)), nearest]
        nearer = values > similarity
        similarity[nearer] = values[nearer]
        names[nearer] = np.array(ids.to_pylist(), object)[nearest[nearer]]
    yield pa.table(
        {"training_image_id": pa.array(names, pa.string()), "similarity": pa.array(similarity)}
    )


def _embeddings(
    model: Embedder, image: ImageSpec, batch_size: int, files: Iterable[str]
) -> Iterator[tuple[pa.Array, Matrix]]:
    """Ids and embeddings of the images in files of TENSORS."""
    embed = model.load(task_threads())
    for file in files:
        for rows in iter_batches(file, ["image_id", "pixels"], batch_size):
            pixels = np.frombuffer(b"".join(rows["pixels"].to_pylist()), np.uint8)
            yield rows["image_id"], embed(pixels.reshape(-1, *image.shape))


def _matrix(embeddings: pa.ChunkedArray) -> Matrix:
    rows = embeddings.to_pylist()
    return np.frombuffer(b"".join(rows), np.float32).reshape(len(rows), -1)


def _directions(vectors: Matrix) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: Matrix = vectors / np.maximum(lengths, np.float32(1e-12))
    return directions
