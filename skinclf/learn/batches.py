"""Shards → batches that are the same whoever reads them.

A global batch of B takes B/S rows from each of the S shards. Worker k of W reads the shards
k, k+W, …, so which images stand in a global batch does not depend on W, and every worker
takes the same whole number of steps. Imports no TensorFlow.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skinclf.dataset_folder import Dataset
from skinclf.errors import ConfigError, DatasetError
from skinclf.schemas import CHANNELS, HEIGHT, PIXEL_BYTES, WIDTH
from skinclf.storage import join, locate


@dataclass(frozen=True)
class Images:
    """Images of one or more shards: pixels (n, 75, 100, 3) uint8 RGB, labels (n,) int32."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


def check_divides(shards: int, slots: int, global_batch: int) -> None:
    """Raise ConfigError, with the numbers that would do, unless slots and batch fit the shards."""
    if shards % slots:
        fitting = [str(n) for n in range(1, shards + 1) if shards % n == 0]
        raise ConfigError(
            f"train.slots: {slots} slots can't share {shards} shards evenly; "
            f"expected one of {', '.join(fitting)}, or prepare with another dataset.shards"
        )
    if global_batch % shards:
        below = max(global_batch // shards, 1) * shards
        raise ConfigError(
            f"train.global_batch: a batch of {global_batch} can't take the same number of images "
            f"from each of {shards} shards; expected a multiple of {shards}, "
            f"such as {below} or {below + shards}"
        )


def steps_an_epoch(rows: Sequence[int], global_batch: int) -> int:
    """How many whole global batches an epoch has: `rows` counts the images of each shard.

    What is left over, less than one batch, is other images in every epoch's order. Raises
    ConfigError where there is not even one batch.
    """
    steps = min(rows) * len(rows) // global_batch
    if steps == 0:
        raise ConfigError(
            f"train.global_batch: {global_batch} is more than the {sum(rows)} training images "
            f"give; expected at most {min(rows) * len(rows)}"
        )
    return steps


def own_shards(shards: int, slots: int, index: int) -> list[int]:
    """The shards that worker `index` of `slots` reads."""
    return list(range(index, shards, slots))


def shard_order(seed: int, epoch: int, shard: int, rows: int) -> NDArray[np.int64]:
    """The order of a shard's rows in an epoch, a function of (seed, epoch, shard) alone."""
    return np.random.default_rng([seed, epoch, shard]).permutation(rows)


def read_shard(dataset: Dataset, split: str, shard: int) -> Images:
    """One shard of a split, whole, in memory. Raises DatasetError where it is damaged."""
    tables = [
        _read_file(join(dataset.path, file.path), file.rows)
        for file in dataset.files_of(split)
        if file.shard == shard
    ]
    if not tables:
        return Images(np.empty((0, HEIGHT, WIDTH, CHANNELS), np.uint8), np.empty(0, np.int32))
    table = pa.concat_tables(tables)
    pixels = [pixel_array(chunk) for chunk in table["pixels"].chunks]
    return Images(np.concatenate(pixels), table["label"].to_numpy().astype(np.int32))


def pixel_array(column: pa.BinaryArray) -> NDArray[np.uint8]:
    """A `pixels` column as (n, 75, 100, 3) uint8, without a copy. Raises DatasetError."""
    _, offsets_buffer, data = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[column.offset :][: len(column) + 1]
    if column.null_count or not (np.diff(offsets) == PIXEL_BYTES).all():
        raise DatasetError(f"pixels: expected {PIXEL_BYTES} bytes in each row; prepare anew")
    flat = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    return flat.reshape(-1, HEIGHT, WIDTH, CHANNELS)


def concatenated(parts: Iterable[Images]) -> Images:
    """Images one after the other, as one."""
    parts = list(parts)
    return Images(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def training_batches(
    shards: dict[int, Images], *, seed: int, epoch: int, steps: int, rows_a_shard: int
) -> Iterator[Images]:
    """One worker's part of each of an epoch's global batches: `rows_a_shard` of every shard."""
    orders = {n: shard_order(seed, epoch, n, len(shards[n])) for n in shards}
    for step in range(steps):
        rows = slice(step * rows_a_shard, (step + 1) * rows_a_shard)
        picked = {n: orders[n][rows] for n in shards}
        yield concatenated(
            Images(shards[n].pixels[picked[n]], shards[n].labels[picked[n]]) for n in shards
        )


def _read_file(path: str, rows: int) -> pa.Table:
    file_system, inner = locate(path)
    try:
        with file_system.open_input_file(inner) as file:
            table = pq.read_table(file, columns=["label", "pixels"])
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: can't be read: {error}. Build the dataset anew") from None
    if table.num_rows != rows:
        raise DatasetError(f"{path}: {table.num_rows} rows, dataset.json says {rows}; prepare anew")
    return table
