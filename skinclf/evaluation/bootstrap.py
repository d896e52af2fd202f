"""How uncertain a metric is: the bootstrap over lesions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.predictions import Predictions

SEED = 2020
PERCENTILES = (2.5, 97.5)
LEAST_LESIONS = 5
"""A metric of fewer lesions gets no interval: so few tell nothing of others."""

LEAST_DEFINED = 0.9
"""A metric that fewer of the rounds define gets no interval: these few rounds are no fair sample
of all, and their interval is too narrow."""

CHUNK_CELLS = 2**21
"""Rounds times images that are held at once: 16 MiB of float64."""


@dataclass(frozen=True)
class Draws:
    """Rounds of the bootstrap: how often each round draws each lesion."""

    counts: NDArray[np.float64]  # (rounds, lesions)
    lesions: NDArray[np.int64]  # (n,) the lesion of each image, 0 … lesions - 1

    def __len__(self) -> int:
        return len(self.counts)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """(rounds, n) how often each image counts: as often as its lesion."""
        return self.counts[:, self.lesions]

    def sums(self, columns: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n, k) values of images → (rounds, k) their sums over the images of each round.

        Exact where the values are whole numbers.
        """
        count = self.counts.shape[1]
        by_lesion = [np.bincount(self.lesions, column, count) for column in columns.T]
        return self.counts @ np.stack(by_lesion, axis=1)

    def mean(self, values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n,) values of images → (rounds,) their means."""
        columns = np.stack([values.astype(np.float64), np.ones(len(values))], axis=1)
        total, images = self.sums(columns).T
        means: NDArray[np.float64] = total / images
        return means


def draw(lesions: NDArray[np.int64], rounds: int, random: np.random.Generator) -> Draws:
    """Draw in each round as many lesions as there are, with replacement."""
    count = int(lesions.max()) + 1
    # One call a round: so the draws don't depend on how many rounds are drawn at once.
    drawn = [np.bincount(random.integers(0, count, count), minlength=count) for _ in range(rounds)]
    return Draws(np.array(drawn, np.float64).reshape(rounds, count), lesions)


def single_round(lesions: NDArray[np.int64]) -> Draws:
    """One round that draws each lesion once: the images as they are."""
    return Draws(np.ones((1, int(lesions.max()) + 1)), lesions)


def lesion_intervals(
    lesions: NDArray[np.int64],
    statistic: Callable[[Draws], NDArray[np.float64]],
    rounds: int,
    *,
    cells: int = CHUNK_CELLS,
) -> NDArray[np.float64]:
    """(k, 2) 95% intervals of `statistic`: Draws → (rounds, k) metrics, nan where undefined;
    nan, too, for a metric that too few rounds define (LEAST_DEFINED).

    Each round draws as many lesions as there are, with replacement, and takes all photographs of
    a lesion as often as it is drawn. Photographs of one lesion are not independent: intervals from
    drawing images would be too narrow. Percentile method (Efron 1979). `statistic` gets the rounds
    in chunks of at most `cells` rounds times images.
    """
    random = np.random.default_rng(SEED)
    chunk = max(cells // len(lesions), 1)
    values = np.concatenate(
        [
            statistic(draw(lesions, min(chunk, rounds - start), random))
            for start in range(0, rounds, chunk)
        ]
    )
    limits = np.full((values.shape[1], 2), np.nan)
    defined = (~np.isnan(values)).mean(axis=0) >= LEAST_DEFINED
    if defined.any():
        limits[defined] = np.nanpercentile(values[:, defined], PERCENTILES, axis=0).T
    return limits


def with_width(
    intervals: NDArray[np.float64],
    values: NDArray[np.float64],
    lesions: NDArray[np.int64],
    shares: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(k, 2) intervals of (k,) values, without those that drawing lesions can't give.

    `lesions` (k,) says of how many lesions a metric is: nan below LEAST_LESIONS. Where all draws
    agree the bootstrap says nothing: where a metric is a share of its lesions (`shares`, (k,)),
    and is 0 or 1, its interval is that of Clopper and Pearson (1934); else nan.
    """
    limits = intervals.copy()
    flat = limits[:, 0] == limits[:, 1]
    limits[flat] = np.nan
    edge = (PERCENTILES[0] / 100) ** (1 / np.maximum(lesions, 1))
    none, all_of_them = (flat & shares & (values == end) for end in (0, 1))
    limits[none] = np.stack([np.zeros_like(edge), 1 - edge], axis=1)[none]
    limits[all_of_them] = np.stack([edge, np.ones_like(edge)], axis=1)[all_of_them]
    limits[lesions < LEAST_LESIONS] = np.nan
    return limits


def estimates(
    lesions: NDArray[np.int64],
    statistic: Callable[[Draws], NDArray[np.float64]],
    rounds: int,
    *,
    of_lesions: Sequence[int],
    shares: Sequence[bool] | NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(k,) values of `statistic` for the images as they are, and (k, 2) their intervals; see
    `lesion_intervals` and, of `of_lesions` and `shares`, `with_width`.
    """
    values = statistic(single_round(lesions))[0]
    limits = lesion_intervals(lesions, statistic, rounds)
    return values, with_width(limits, values, np.array(of_lesions), np.array(shares))


def count_lesions(lesions: NDArray[np.int64], where: NDArray[np.bool_]) -> int:
    """How many lesions the images `where` (n,) holds show."""
    return len(np.unique(lesions[where]))


def all_lesions(predictions: Predictions) -> int:
    """How many lesions all images show."""
    return int(predictions.lesions.max()) + 1


def fewest_lesions(predictions: Predictions) -> int:
    """How many lesions the rarest class that occurs has: they limit a balanced accuracy."""
    labels = predictions.labels
    return min(count_lesions(predictions.lesions, labels == label) for label in np.unique(labels))
