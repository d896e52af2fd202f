from collections.abc import Callable

import numpy as np
import pytest

from skinclf.metrics.intervals import lesion_intervals


def share_of(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: np.array([np.average(values, weights=weights)])


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution() -> None:
    """Of 400 single images 300 are right: 0.75 +- 1.96 sqrt(0.75 * 0.25 / 400)."""
    right = np.arange(400) < 300
    ((low, high),) = lesion_intervals(np.arange(400), share_of(right), rounds=2000)
    assert (low, high) == pytest.approx((0.7076, 0.7924), abs=0.006)


def test_photographs_of_one_lesion_are_one_witness() -> None:
    """The same 400 images, four of each lesion: twice as wide."""
    right = np.arange(400) < 300
    ((low, high),) = lesion_intervals(np.arange(400) // 4, share_of(right), rounds=2000)
    assert (low, high) == pytest.approx((0.6651, 0.8349), abs=0.012)


def test_the_same_draws_every_time_and_nan_where_nothing_is_defined() -> None:
    values = np.array([1.0, 0.0, 1.0])
    first, second = (lesion_intervals(np.arange(3), share_of(values), rounds=50) for _ in range(2))
    assert np.array_equal(first, second)
    undefined = lesion_intervals(np.arange(3), lambda _: np.array([np.nan]), rounds=5)
    assert np.isnan(undefined).all()
