"""How sure a figure is: the bootstrap over lesions."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SEED = 2020
PERCENTILES = (2.5, 97.5)


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
    count = int(lesions.max()) + 1
    found = []
    for _ in range(rounds):
        drawn = np.bincount(random.integers(0, count, count), minlength=count)
        found.append(statistic(drawn[lesions].astype(np.float64)))
    values = np.array(found)
    limits = np.full((values.shape[1], 2), np.nan)
    defined = ~np.isnan(values).all(axis=0)
    if defined.any():
        limits[defined] = np.nanpercentile(values[:, defined], PERCENTILES, axis=0).T
    return limits
