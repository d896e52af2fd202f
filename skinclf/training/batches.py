"""Shards → batches that do not depend on which worker reads them.

A global batch of B takes B/S rows from each of the S shards. Worker k of W reads the shards
k, k+W, …, so which images are in a global batch does not depend on W, and every worker
takes the same whole number of steps. Imports no TensorFlow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from skinclf.errors import ConfigError
from skinclf.training.shards import Images, Piece, ShardReader

DRAWS = (
    *("flip_x", "flip_y", "turn", "shift_x", "shift_y", "brightness", "contrast", "zoom"),
    *("aspect", "gain_r", "gain_g", "gain_b", "gamma", "saturation", "hue"),
)
"""Random numbers an image and epoch, by what augmentation.augmented does by them. A new one comes
last: it leaves the others as they are."""

ORDER, AUGMENTATION, DROPOUT = 0, 1, 2
"""Streams of random numbers that have nothing to do with each other."""


@dataclass(frozen=True)
class Batch:
    """One worker's part of a global batch: pixels and labels as in Images, draws (n, DRAWS) in
    0–1, and seeds (n, 2) of each image's mask of dropout.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    draws: NDArray[np.float32]
    seeds: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Order:
    """What the order of images depends on, besides the shards themselves."""

    seed: int
    epoch: int
    window: int  # images of a shard that are shuffled with each other


Example = tuple[NDArray[np.uint8], np.int32, NDArray[np.float32], NDArray[np.int32]]
"""(height, width, 3) pixels, label, draws (DRAWS,), seed (2,)."""


@dataclass(frozen=True)
class Part:
    """The images of a piece with what is drawn for each of them in an epoch."""

    images: Images
    draws: NDArray[np.float32]  # (n, DRAWS)
    seeds: NDArray[np.int32]  # (n, 2)

    def example(self, row: int) -> Example:
        """One of its images."""
        return self.images.pixels[row], self.images.labels[row], self.draws[row], self.seeds[row]


def check_divides(shards: int, slots: int, global_batch_size: int) -> None:
    """Raise ConfigError, with the numbers that would do, unless slots and batch fit the shards."""
    if shards % slots:
        fitting = [str(n) for n in range(1, shards + 1) if shards % n == 0]
        raise ConfigError(
            f"train.slots: {slots} slots can't share {shards} shards evenly; "
            f"expected one of {', '.join(fitting)}, or prepare with another dataset.shards"
        )
    if global_batch_size % shards:
        below = max(global_batch_size // shards, 1) * shards
        raise ConfigError(
            f"train.global_batch_size: a batch of {global_batch_size} can't take the same number "
            f"of images from each of {shards} shards; expected a multiple of {shards}, "
            f"such as {below} or {below + shards}"
        )


def steps_an_epoch(rows: Sequence[int], global_batch_size: int) -> int:
    """How many whole global batches an epoch has: `rows` counts the images of each shard.

    What is left over, less than one batch, is other images in every epoch's order. Raises
    ConfigError where there is not even one batch, or an empty shard.
    """
    if min(rows) == 0:
        advice = "prepare with fewer" if sum(rows) else "prepare with split.train above 0"
        raise ConfigError(
            f"dataset.shards: {sum(rows)} training images are too few for {len(rows)} shards; "
            f"{advice}"
        )
    steps = min(rows) * len(rows) // global_batch_size
    if steps == 0:
        raise ConfigError(
            f"train.global_batch_size: {global_batch_size} is more than the {sum(rows)} training "
            f"images give; expected at most {min(rows) * len(rows)}"
        )
    return steps


def own_shards(shards: int, slots: int, index: int) -> list[int]:
    """The shards that worker `index` of `slots` reads."""
    return list(range(index, shards, slots))


def training_batches(
    reader: ShardReader, order: Order, *, rows_a_shard: int, steps: range
) -> Iterator[Batch]:
    """One worker's part of the global batches `steps` of an epoch: `rows_a_shard` of each shard.

    A training that resumes in the middle of an epoch starts `steps` there.
    """
    skipped = steps.start * rows_a_shard
    shards = [shard_examples(reader, n, order, skipped) for n in reader.pieces]
    for _ in steps:
        examples = [example for shard in shards for example in islice(shard, rows_a_shard)]
        pixels, labels, draws, seeds = zip(*examples, strict=True)
        yield Batch(np.stack(pixels), np.array(labels, np.int32), np.stack(draws), np.stack(seeds))


def shard_examples(
    reader: ShardReader, shard: int, order: Order, skipped: int = 0
) -> Iterator[Example]:
    """The images of a shard in an epoch's order, a function of (seed, epoch, shard, window), but
    for the first `skipped`.

    The order is the same whether the reader keeps its pieces or reads them each time; in
    the latter case one window of them is held. A window that is skipped whole is not read.
    """
    random = np.random.default_rng([order.seed, order.epoch, shard, ORDER])
    for window in windows(reader.pieces[shard], order.window, random):
        places = [(part, row) for part, piece in enumerate(window) for row in range(piece.rows)]
        shuffled = random.permutation(len(places))[skipped:]
        skipped = max(skipped - len(places), 0)
        parts = [read_part(reader, piece, order) for piece in window] if len(shuffled) else []
        for place in shuffled:
            part, row = places[place]
            yield parts[part].example(row)


def read_part(reader: ShardReader, piece: Piece, order: Order) -> Part:
    """A piece's images with an epoch's draws and seeds."""
    return Part(reader.read(piece), augmentation_draws(piece, order), dropout_seeds(piece, order))


def windows(pieces: Sequence[Piece], size: int, random: np.random.Generator) -> list[list[Piece]]:
    """Pieces in random order, packed into windows of at most `size` images, one piece at
    least.
    """
    packed: list[list[Piece]] = []
    room = 0
    for n in random.permutation(len(pieces)):
        if pieces[n].rows > room:
            packed.append([])
            room = size
        packed[-1].append(pieces[n])
        room -= pieces[n].rows
    return packed


def augmentation_draws(piece: Piece, order: Order) -> NDArray[np.float32]:
    """(rows, DRAWS) uniform in 0–1, a function of (seed, epoch, image)."""
    random = _random_of(piece, order, AUGMENTATION)
    return random.random((len(DRAWS), piece.rows), np.float32).T


def dropout_seeds(piece: Piece, order: Order) -> NDArray[np.int32]:
    """(rows, 2) non-negative integers, a function of (seed, epoch, image)."""
    random = _random_of(piece, order, DROPOUT)
    return random.integers(2**31, size=(piece.rows, 2), dtype=np.int32)


def _random_of(piece: Piece, order: Order, stream: int) -> np.random.Generator:
    """A stream of random numbers for the images of a piece, named by shard, piece and row."""
    return np.random.default_rng([order.seed, order.epoch, piece.shard, piece.number, stream])


def plain_batches(reader: ShardReader, size: int) -> Iterator[Images]:
    """All images in the order in which they lie, at most `size` at a time."""
    for pieces in reader.pieces.values():
        for piece in pieces:
            images = reader.read(piece)
            for start in range(0, len(images), size):
                rows = slice(start, start + size)
                yield Images(images.pixels[rows], images.labels[rows])
