import numpy as np
import pytest

from skinclf.errors import ConfigError
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.storage.dataset_folder import Dataset
from skinclf.training.batches import (
    Order,
    augmentation_draws,
    check_divides,
    dropout_seeds,
    own_shards,
    plain_batches,
    shard_examples,
    steps_an_epoch,
    training_batches,
    windows,
)
from skinclf.training.shards import Images, Piece, ShardReader, read_piece
from tests.support.datasets import MakeDataset

SHARDS, ROWS = 4, 10
ALL = 10**9


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Four shards of ten images: the images of shard 2 are 20 to 29."""
    return make_dataset(SHARDS, ROWS, group_rows=3)


def global_batches(dataset: Dataset, workers: int, order: Order, memory: int) -> list[set[int]]:
    """Which images stand in each global batch of 8 when `workers` share the shards."""
    steps = steps_an_epoch([ROWS] * SHARDS, 8)
    batches: list[set[int]] = [set() for _ in range(steps)]
    for index in range(workers):
        shards = own_shards(SHARDS, workers, index)
        reader = ShardReader(dataset, "train", shards, memory_bytes=memory)
        parts = list(training_batches(reader, order, rows_a_shard=2, steps=range(steps)))
        assert [len(part) for part in parts] == [8 // workers] * steps
        for batch, part in zip(batches, parts, strict=True):
            assert (part.pixels[:, 0, 0, 0] == part.labels).all()
            batch |= set(part.labels.tolist())
    return batches


@pytest.mark.parametrize("window", [1, 6, 100])
def test_global_batches_do_not_depend_on_workers_nor_on_memory(
    dataset: Dataset, window: int
) -> None:
    order = Order(seed=1, epoch=1, window=window)
    alone = global_batches(dataset, 1, order, ALL)
    assert [len(batch) for batch in alone] == [8] * 5
    for workers, memory in ((2, ALL), (4, ALL), (1, 0), (2, 0), (4, 0)):
        assert global_batches(dataset, workers, order, memory) == alone


def test_an_epoch_shows_each_image_once_and_another_epoch_another_order(dataset: Dataset) -> None:
    batches = global_batches(dataset, 2, Order(1, 1, 100), ALL)
    assert set.union(*batches) == set(range(SHARDS * ROWS))
    assert global_batches(dataset, 2, Order(1, 2, 100), ALL) != batches


def test_the_order_of_a_shard_is_a_function_of_seed_epoch_shard_and_window(
    dataset: Dataset,
) -> None:
    def labels(shard: int, order: Order) -> list[int]:
        reader = ShardReader(dataset, "train", [shard], memory_bytes=ALL)
        return [int(label) % ROWS for _, label, *_ in shard_examples(reader, shard, order)]

    order = labels(3, Order(1, 2, 100))
    assert sorted(order) == list(range(ROWS))
    assert labels(3, Order(1, 2, 100)) == order
    for shard, other in ((3, Order(2, 2, 100)), (3, Order(1, 3, 100)), (2, Order(1, 2, 100))):
        assert labels(shard, other) != order
    assert labels(3, Order(1, 2, 3)) != order


def test_windows_hold_whole_pieces_up_to_their_size() -> None:
    pieces = [Piece("", n, 0, rows, 0, n, BENBRAHIM_2020) for n, rows in enumerate([4, 4, 4, 9, 1])]
    packed = windows(pieces, 8, np.random.default_rng(1))
    assert sorted(piece.number for window in packed for piece in window) == [0, 1, 2, 3, 4]
    assert all(len(window) == 1 or sum(p.rows for p in window) <= 8 for window in packed)
    assert len(windows(pieces, 22, np.random.default_rng(1))) == 1


def test_an_epoch_goes_on_in_its_middle_with_the_very_same_batches(dataset: Dataset) -> None:
    reader = ShardReader(dataset, "train", range(SHARDS), memory_bytes=0)
    whole, rest = (
        list(training_batches(reader, Order(1, 1, 6), rows_a_shard=2, steps=steps))
        for steps in (range(5), range(3, 5))
    )
    assert len(rest) == 2
    for theirs, ours in zip(whole[3:], rest, strict=True):
        assert theirs.labels.tolist() == ours.labels.tolist()
        assert np.array_equal(theirs.draws, ours.draws)
        assert np.array_equal(theirs.seeds, ours.seeds)


def test_an_epoch_that_goes_on_at_its_end_reads_only_what_it_uses(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shard has four row groups, in windows of two: of each, the last one is read."""
    reader = ShardReader(dataset, "train", range(SHARDS), memory_bytes=0)
    groups: list[Piece] = []

    def read(group: Piece) -> Images:
        groups.append(group)
        return read_piece(group)

    monkeypatch.setattr(reader, "read", read)
    list(training_batches(reader, Order(1, 1, 6), rows_a_shard=2, steps=range(4, 5)))
    assert len(groups) == SHARDS * 2
    assert sum(group.rows for group in groups) < SHARDS * ROWS


def test_an_image_has_the_same_draws_whoever_reads_it(dataset: Dataset) -> None:
    """Image 25 is row 2 of the second row group (of three rows) of shard 2."""
    found = []
    for shards, window in (([2], 100), ([0, 1, 2, 3], 100), ([0, 2], 3)):
        reader = ShardReader(dataset, "train", shards, memory_bytes=0)
        order = Order(seed=5, epoch=2, window=window)
        found += [drawn for _, n, *drawn in shard_examples(reader, 2, order) if n == 25]
    group = reader.pieces[2][1]
    draws, seed = augmentation_draws(group, order)[2], dropout_seeds(group, order)[2]
    assert all(np.array_equal(ours, draws) for ours, _ in found)
    assert all(np.array_equal(ours, seed) for _, ours in found)
    other = Order(5, 3, 100)
    assert not np.array_equal(augmentation_draws(group, other)[2], draws)
    assert not np.array_equal(dropout_seeds(group, other)[2], seed)


def test_plain_batches_hold_each_image_once_in_order(dataset: Dataset) -> None:
    reader = ShardReader(dataset, "train", [1, 3], memory_bytes=0)
    batches = [images.labels.tolist() for images in plain_batches(reader, 2)]
    assert batches[:3] == [[10, 11], [12], [13, 14]]
    assert [n for batch in batches for n in batch] == [*range(10, 20), *range(30, 40)]


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


def test_fewer_training_images_than_shards_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dataset.shards: 2 training images are too few for 3"):
        steps_an_epoch([1, 0, 1], 1)
    with pytest.raises(ConfigError, match=r"split\.train above 0"):
        steps_an_epoch([0, 0], 1)
