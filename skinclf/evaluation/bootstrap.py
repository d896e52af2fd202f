"""How sure a figure is: the bootstrap over lesions."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SEED = 2020
PERCENTILES = (2.5, 97.5)
LEAST_LESIONS = 5
"""A figure of fewer lesions gets no interval: the few that there are tell nothing of others."""


def lesion_intervals(
    lesions: NDArray[np.int64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    rounds: int,
) -> NDArray[np.float64]:
    """(k, 2) 95 % intervals of `statistic`: image weights (n,) → (k,) figures, nan where undefined.

    Each round draws as many lesions as there are, with replacement, and takes all photographs of
    a lesion as often as it was drawn: photographs of one lesion are no independent witnesses, and
    intervals from drawing images would be too narrow. Percentile method (Efron 1979).
    """
    random = np.random.default_rng(SEED)
    values = np.array([statistic(drawn_weights(lesions, random)) for _ in range(rounds)])
    limits = np.full((values.shape[1], 2), np.nan)
    defined = ~np.isnan(values).all(axis=0)
    if defined.any():
        limits[defined] = np.nanpercentile(values[:, defined], PERCENTILES, axis=0).T
    return limits


def drawn_weights(lesions: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float64]:
    """(n,) how often each image counts when as many lesions as there are are drawn anew."""
    count = int(lesions.max()) + 1
    drawn = np.bincount(random.integers(0, count, count), minlength=count)
    return drawn[lesions].astype(np.float64)


def with_width(
    intervals: NDArray[np.float64],
    values: NDArray[np.float64],
    lesions: NDArray[np.int64],
    shares: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(k, 2) intervals of (k,) values, without those that can't be had by drawing lesions.

    `lesions` (k,) says of how many lesions a figure is: nan below LEAST_LESIONS. Where all draws
    agree the bootstrap says nothing: where a figure is a share of its lesions (`shares`, (k,)),
    and is 0 or 1, its interval is Clopper and Pearson's (1934); else nan.
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


def count_lesions(lesions: NDArray[np.int64], where: NDArray[np.bool_]) -> int:
    """How many lesions the images `where` (n,) holds show."""
    return len(np.unique(lesions[where]))


def fewest_lesions(lesions: NDArray[np.int64], labels: NDArray[np.int32]) -> int:
    """How many lesions the rarest class that occurs has: what a balanced accuracy hangs on."""
    return min(count_lesions(lesions, labels == label) for label in np.unique(labels))
