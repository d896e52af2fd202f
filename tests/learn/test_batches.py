from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from skinclf.dataset_folder import Dataset
from skinclf.errors import ConfigError, DatasetError
from skinclf.learn.batches import (
    Images,
    check_divides,
    own_shards,
    pixel_array,
    read_shard,
    shard_order,
    steps_an_epoch,
    training_batches,
)
from skinclf.schemas import PIXEL_BYTES

SHARDS, ROWS = 4, 10


def shard(number: int) -> Images:
    """Ten images whose first byte and label tell which they are: 10 x shard + row."""
    identities = np.arange(ROWS) + ROWS * number
    pixels = np.zeros((ROWS, 75, 100, 3), np.uint8)
    pixels[:, 0, 0, 0] = identities
    return Images(pixels, identities.astype(np.int32))


def global_batches(workers: int, epoch: int = 1) -> list[set[int]]:
    """Which images stand in each global batch of 8 when `workers` share the shards."""
    steps = steps_an_epoch([ROWS] * SHARDS, 8)
    batches: list[set[int]] = [set() for _ in range(steps)]
    for index in range(workers):
        own = {n: shard(n) for n in own_shards(SHARDS, workers, index)}
        parts = list(training_batches(own, seed=1, epoch=epoch, steps=steps, rows_a_shard=2))
        assert [len(part) for part in parts] == [8 // workers] * steps
        for batch, part in zip(batches, parts, strict=True):
            assert (part.pixels[:, 0, 0, 0] == part.labels).all()
            batch |= set(part.labels.tolist())
    return batches


def test_global_batches_do_not_depend_on_how_many_workers_read_them() -> None:
    alone = global_batches(1)
    assert [len(batch) for batch in alone] == [8] * 5
    assert global_batches(2) == alone
    assert global_batches(4) == alone


def test_an_epoch_shows_each_image_once_and_another_epoch_another_order() -> None:
    batches = global_batches(2)
    assert set.union(*batches) == set(range(SHARDS * ROWS))
    assert global_batches(2, epoch=2) != batches


def test_the_order_of_a_shard_is_a_function_of_seed_epoch_and_shard() -> None:
    order = shard_order(1, 2, 3, 50).tolist()
    assert sorted(order) == list(range(50))
    assert shard_order(1, 2, 3, 50).tolist() == order
    for seed, epoch, number in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert shard_order(seed, epoch, number, 50).tolist() != order


@pytest.mark.parametrize(
    ("rows", "batch", "steps"), [([10, 10, 10, 10], 8, 5), ([11, 11, 10, 10], 8, 5), ([7, 8], 4, 3)]
)
def test_steps_are_whole_and_set_by_the_smallest_shard(
    rows: list[int], batch: int, steps: int
) -> None:
    assert steps_an_epoch(rows, batch) == steps


@pytest.mark.parametrize(
    ("shards", "slots", "batch", "told"),
    [
        (16, 3, 64, "expected one of 1, 2, 4, 8, 16"),
        (16, 2, 60, "such as 48 or 64"),
        (16, 2, 8, "such as 16 or 32"),
    ],
)
def test_what_does_not_divide_is_refused_with_the_numbers_that_would(
    shards: int, slots: int, batch: int, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        check_divides(shards, slots, batch)


def test_a_batch_larger_than_the_training_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected at most 20"):
        steps_an_epoch([10, 11], 32)


def test_pixels_are_read_without_a_copy_from_any_slice() -> None:
    column = pa.array([bytes([n]) * PIXEL_BYTES for n in range(4)], pa.binary())
    pixels = pixel_array(column.slice(1, 2))
    assert pixels.shape == (2, 75, 100, 3)
    assert [int(image.max()) for image in pixels] == [1, 2]
    assert not pixels.flags.owndata


@pytest.mark.parametrize("row", [b"short", None])
def test_pixels_of_another_length_are_refused(row: bytes | None) -> None:
    column = pa.array([bytes(PIXEL_BYTES), row], pa.binary())
    with pytest.raises(DatasetError, match="expected 22500 bytes"):
        pixel_array(column)


def test_shards_hold_what_prepare_wrote(road: Path) -> None:
    dataset = Dataset.read(str(road / "dataset"))
    shards = [read_shard(dataset, "train", n) for n in range(dataset.shards)]
    assert [len(images) for images in shards] == dataset.rows_of("train")
    counts = np.bincount(np.concatenate([images.labels for images in shards]), minlength=7)
    assert counts.tolist() == [dataset.counts["train"].get(code, 0) for code in dataset.classes]


def test_a_truncated_shard_is_named(road: Path, tmp_path: Path) -> None:
    dataset = Dataset.read(str(road / "dataset"))
    file = dataset.files_of("train")[0]
    broken = tmp_path / file.path
    broken.parent.mkdir(parents=True)
    broken.write_bytes((road / "dataset" / file.path).read_bytes()[:-1000])
    moved = dataset.model_copy(update={"path": str(tmp_path)})
    with pytest.raises(DatasetError, match=r"shard=00/.*\.parquet: can't be read"):
        read_shard(moved, "train", 0)
