"""A worker's shards: read piece by piece, and kept in memory where they all fit.

A shard is a range of the order in which all rows of a split lie. Files and row groups are as long
as they happen to be: a shard begins and ends within them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skinclf.config.schema import TrainConfig
from skinclf.errors import DatasetError
from skinclf.spec.image_spec import ImageSpec
from skinclf.storage.dataset_folder import Dataset, TensorFile, shard_ranges
from skinclf.storage.files import join, local_path, open_file, read_bytes
from skinclf.system.retrying import OF_A_SHARE, SCARCE, is_gone

COLUMNS = ["label", "pixels"]

T = TypeVar("T")


@dataclass(frozen=True)
class Images:
    """Images that lie together: pixels (n, height, width, 3) uint8 RGB, labels (n,) int32."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Piece:
    """Rows of a shard that lie in one row group of a file, and are read at once.

    `number` counts through the shard's pieces.
    """

    path: str
    group: int  # within its file
    first: int  # of its rows, within the row group
    rows: int
    shard: int
    number: int
    image: ImageSpec


def cache_bytes(config: TrainConfig) -> dict[str, int]:
    """How many bytes of images a worker keeps in memory, by split."""
    cache = config.image_cache_mb * 2**20
    return {"train": cache * 8 // 10, "val": cache // 5}


def held_bytes(dataset: Dataset, config: TrainConfig) -> int:
    """How many bytes of images a worker holds at once: all of a split where the cache has room for
    them, else a window of each of its shards of training images, and the next one of a shard.
    """
    size, room = dataset.image.size_bytes, cache_bytes(config)
    rows = {split: dataset.rows_of(split)[:: config.slots] for split in room}
    held = {split: sum(rows[split]) * size for split in room}
    if held["train"] > room["train"]:
        windows = [min(count, config.shuffle_window) for count in rows["train"]]
        held["train"] = (sum(windows) + max(windows)) * size
    if held["val"] > room["val"]:
        held["val"] = 0  # a row group at a time
    return sum(held.values())


class ShardReader:
    """The images of some shards of a split, by piece.

    Only the files' footers are read at first. The pieces are read whenever they are asked
    for, or once and for all where the pixels of all shards take at most `memory_bytes`. Raises
    DatasetError for a file that is damaged or is not what dataset.json says.
    """

    def __init__(
        self, dataset: Dataset, split: str, shards: Sequence[int], *, memory_bytes: int
    ) -> None:
        files = dataset.files_of(split)
        ranges = list(shard_ranges(sum(file.rows for file in files), dataset.shards))
        stretches = _stretches(dataset.path, files, [ranges[shard] for shard in shards])
        self.pieces = {
            shard: list(_pieces(stretches, ranges[shard], shard, dataset.image)) for shard in shards
        }
        rows = sum(len(ranges[shard]) for shard in shards)
        self.in_memory = rows * dataset.image.size_bytes <= memory_bytes
        self.read = cache(read_piece) if self.in_memory else read_piece


class _Stretch(NamedTuple):
    """Where the rows of one row group lie in the order of a split's rows."""

    path: str
    group: int
    rows: range


def _stretches(
    dataset: str, files: Sequence[TensorFile], wanted: Sequence[range]
) -> list[_Stretch]:
    """The row groups of the files that have rows `wanted`. Raises DatasetError."""
    found, start = [], 0
    for file in files:
        rows = range(start, start + file.rows)
        if any(_common(rows, some) for some in wanted):
            path, first = join(dataset, file.path), start
            for group, count in enumerate(_group_rows(path, file)):
                found.append(_Stretch(path, group, range(first, first + count)))
                first += count
        start += file.rows
    return found


def _pieces(
    stretches: Sequence[_Stretch], wanted: range, shard: int, image: ImageSpec
) -> Iterator[Piece]:
    """The pieces of a shard, in the order in which its rows lie."""
    number = count()
    for stretch in stretches:
        rows = _common(stretch.rows, wanted)
        if rows:
            first = rows.start - stretch.rows.start
            group = stretch.group
            yield Piece(stretch.path, group, first, len(rows), shard, next(number), image)


def _common(one: range, other: range) -> range:
    return range(max(one.start, other.start), min(one.stop, other.stop))


def read_piece(piece: Piece) -> Images:
    """The images of a piece. Raises DatasetError where they can't be read."""

    def read_group(file: pa.NativeFile) -> pa.Table:
        return pq.ParquetFile(file).read_row_group(piece.group, columns=COLUMNS)

    group = _read(piece.path, read_group)
    table = group.slice(piece.first, piece.rows)
    parts = [pixels_of_column(chunk, piece.image) for chunk in table["pixels"].chunks]
    # Copied where it is a part, lest a piece that is kept keeps its whole row group.
    whole = len(parts) == 1 and piece.rows == group.num_rows
    pixels = parts[0] if whole else np.concatenate(parts)
    return Images(pixels, table["label"].to_numpy().astype(np.int32))


def pixels_of_column(column: pa.BinaryArray, image: ImageSpec) -> NDArray[np.uint8]:
    """A `pixels` column as (n, height, width, 3) uint8, without a copy. Raises DatasetError."""
    _, offsets_buffer, data = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[column.offset :][: len(column) + 1]
    if column.null_count or not (np.diff(offsets) == image.size_bytes).all():
        raise DatasetError(f"pixels: expected {image.size_bytes} bytes in each row; prepare anew")
    flat = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    return flat.reshape(-1, *image.shape)


def _group_rows(path: str, file: TensorFile) -> list[int]:
    """How many rows each row group of a file has, by its footer."""
    footer = _read(path, pq.read_metadata)
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


def _read(path: str, read: Callable[[pa.NativeFile], T]) -> T:
    """What `read` makes of a file. Raises DatasetError where it is damaged or gone, and the error
    itself where it is one of storage on a network or of a machine that lacks memory or file
    handles: training may resume.

    pyarrow has OSError for some damage, too. Of a file on a network the bytes are then read alone,
    which shows whose fault it is.
    """
    try:
        with open_file(path) as file:
            return read(file)
    except pa.ArrowMemoryError:
        raise
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and not is_gone(error):
            if error.errno in (*OF_A_SHARE, *SCARCE):
                raise
            if local_path(path) is None:
                return _parsed(path, read)
        raise _unreadable(path, error) from None


def _parsed(path: str, read: Callable[[pa.NativeFile], T]) -> T:
    content = read_bytes(path)
    try:
        return read(pa.BufferReader(content))
    except pa.ArrowMemoryError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: Exception) -> DatasetError:
    return DatasetError(f"{path}: can't be read: {error}. Build the dataset anew: skinclf prepare")
