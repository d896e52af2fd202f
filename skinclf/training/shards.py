"""A worker's shards: read row group by row group, and kept in memory where they all fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skinclf.errors import DatasetError
from skinclf.spec.image_spec import ImageSpec
from skinclf.storage.dataset_folder import Dataset, TensorFile
from skinclf.storage.files import join, locate

COLUMNS = ["label", "pixels"]


@dataclass(frozen=True)
class Images:
    """Images that lie together: pixels (n, height, width, 3) uint8 RGB, labels (n,) int32."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class RowGroup:
    """A part of one shard that is read at once; `number` counts through the shard's parts."""

    path: str
    index: int  # within its file
    shard: int
    number: int
    rows: int
    image: ImageSpec


class ShardReader:
    """The images of some shards of a split, by row group.

    Only the files' footers are read at first. The row groups are read whenever they are asked
    for, or once and for all where the pixels of all shards take at most `memory_bytes`. Raises
    DatasetError for a file that is damaged or is not what dataset.json says.
    """

    def __init__(
        self, dataset: Dataset, split: str, shards: Sequence[int], *, memory_bytes: int
    ) -> None:
        self.groups = {shard: row_groups(dataset, split, shard) for shard in shards}
        rows = sum(group.rows for groups in self.groups.values() for group in groups)
        self.in_memory = rows * dataset.image.size_bytes <= memory_bytes
        self.read = cache(read_row_group) if self.in_memory else read_row_group


def row_groups(dataset: Dataset, split: str, shard: int) -> list[RowGroup]:
    """The row groups of a shard, in the order in which its rows lie. Raises DatasetError."""
    files = [file for file in dataset.files_of(split) if file.shard == shard]
    parts = [
        (join(dataset.path, file.path), index, rows)
        for file in files
        for index, rows in enumerate(_group_rows(dataset.path, file))
    ]
    return [
        RowGroup(path, index, shard, number, rows, dataset.image)
        for number, (path, index, rows) in enumerate(parts)
    ]


def read_row_group(group: RowGroup) -> Images:
    """The images of a row group. Raises DatasetError where they can't be read."""
    file_system, inner = locate(group.path)
    try:
        with file_system.open_input_file(inner) as file:
            table = pq.ParquetFile(file).read_row_group(group.index, columns=COLUMNS)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(group.path, error) from None
    pixels = [pixel_array(chunk, group.image) for chunk in table["pixels"].chunks]
    return Images(
        pixels[0] if len(pixels) == 1 else np.concatenate(pixels),
        table["label"].to_numpy().astype(np.int32),
    )


def pixel_array(column: pa.BinaryArray, image: ImageSpec) -> NDArray[np.uint8]:
    """A `pixels` column as (n, height, width, 3) uint8, without a copy. Raises DatasetError."""
    _, offsets_buffer, data = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[column.offset :][: len(column) + 1]
    if column.null_count or not (np.diff(offsets) == image.size_bytes).all():
        raise DatasetError(f"pixels: expected {image.size_bytes} bytes in each row; prepare anew")
    flat = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    return flat.reshape(-1, *image.shape)


def _group_rows(dataset: str, file: TensorFile) -> list[int]:
    """How many rows each row group of a file has, by its footer."""
    path = join(dataset, file.path)
    file_system, inner = locate(path)
    try:
        with file_system.open_input_file(inner) as opened:
            footer = pq.read_metadata(opened)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None
    missing = sorted(set(COLUMNS) - set(footer.schema.names))
    if missing:
        raise DatasetError(
            f"{path}: has no column {' or '.join(missing)}, only "
            f"{', '.join(footer.schema.names)}; build the dataset anew: skinclf prepare"
        )
    if footer.num_rows != file.rows:
        raise DatasetError(
            f"{path}: {footer.num_rows} rows, dataset.json says {file.rows}; build the dataset "
            f"anew: skinclf prepare"
        )
    return [footer.row_group(n).num_rows for n in range(footer.num_row_groups)]


def _unreadable(path: str, error: Exception) -> DatasetError:
    return DatasetError(f"{path}: can't be read: {error}. Build the dataset anew: skinclf prepare")
