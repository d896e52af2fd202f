"""What the benchmarks compute, apart from time."""

import numpy as np
import pytest

from bench.seeds import mean
from skinclf.evaluation.bootstrap import Draws


@pytest.mark.parametrize("runs", [3, 5])
def test_95_of_100_intervals_over_seeds_hold_the_true_mean(runs: int) -> None:
    """Of 3 runs, the plain bootstrap's 75 of 100 would."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        found = random.normal(size=runs)
        of_runs = [lambda draws, value=value: np.full((len(draws), 1), value) for value in found]
        draws = Draws(np.ones((400, 1)), np.zeros(1, np.int64))
        drawn = mean(of_runs, draws, random)[:, 0]
        low, high = np.percentile(drawn, (2.5, 97.5))
        held += low <= 0 <= high
    assert held / 300 == pytest.approx(0.95, abs=0.03)
