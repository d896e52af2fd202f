from collections.abc import Callable

import numpy as np
import pytest

from skinclf.evaluation.bootstrap import fewest_lesions, lesion_intervals, with_width


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


def test_figures_that_no_draw_changes_get_the_interval_of_clopper_and_pearson() -> None:
    """Tables: of 10, none is found: 0 to 0.3085; of 50, all are: 0.9289 to 1."""
    flat = np.array([[0.0, 0.0], [1.0, 1.0], [0.2, 0.4], [1.0, 1.0], [0.5, 0.5]])
    values = np.array([0.0, 1.0, 0.3, 1.0, 0.5])
    lesions = np.array([10, 50, 50, 50, 50])
    shares = np.array([True, True, True, False, True])
    limits = with_width(flat, values, lesions, shares)
    assert limits[0] == pytest.approx((0, 0.3085), abs=1e-4)
    assert limits[1] == pytest.approx((0.9289, 1), abs=1e-4)
    assert limits[2].tolist() == [0.2, 0.4]
    assert np.isnan(limits[3:]).all()  # an AUC of 1 is no share of lesions


def test_figures_of_fewer_than_five_lesions_have_no_interval() -> None:
    limits = np.array([[0.2, 0.9], [0.2, 0.9]])
    shares = np.array([True, True])
    found = with_width(limits, np.array([0.5, 0.5]), np.array([4, 5]), shares)
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [0.2, 0.9]


def test_the_rarest_class_s_lesions_are_counted() -> None:
    labels = np.array([4, 4, 5, 5, 5], np.int32)
    assert fewest_lesions(np.array([0, 0, 1, 2, 3]), labels) == 1
