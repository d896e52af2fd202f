"""The statistics of the benchmarks, on which the README's comparison of recipes rests."""

import numpy as np
import pytest

from bench.seeds import mean


@pytest.mark.parametrize("runs", [3, 5])
def test_95_of_100_intervals_over_seeds_hold_the_true_mean(runs: int) -> None:
    """Of 3 runs, the plain bootstrap's 75 of 100 would."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        found = random.normal(size=runs)
        of_runs = [lambda _, value=value: np.array([value]) for value in found]
        drawn = [mean(of_runs, np.ones(1), random)[0] for _ in range(400)]
        low, high = np.percentile(drawn, (2.5, 97.5))
        held += low <= 0 <= high
    assert held / 300 == pytest.approx(0.95, abs=0.03)
