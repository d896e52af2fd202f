from collections.abc import Callable

import numpy as np
import pytest

from skinclf.evaluation.bootstrap import (
    Draws,
    draw,
    fewest_lesions,
    lesion_intervals,
    with_width,
)
from skinclf.evaluation.predictions import Predictions
from skinclf.spec.taxonomy import HAM10000


def share_of(values: np.ndarray) -> Callable[[Draws], np.ndarray]:
    return lambda draws: draws.mean(values)[:, None]


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution() -> None:
    """Of 400 single images 300 are right: 0.75 +- 1.96 sqrt(0.75 * 0.25 / 400)."""
    right = np.arange(400) < 300
    ((low, high),) = lesion_intervals(np.arange(400), share_of(right), rounds=2000)
    assert (low, high) == pytest.approx((0.7076, 0.7924), abs=0.006)


def test_photographs_of_one_lesion_are_not_independent() -> None:
    """The same 400 images, four of each lesion: twice as wide."""
    right = np.arange(400) < 300
    ((low, high),) = lesion_intervals(np.arange(400) // 4, share_of(right), rounds=2000)
    assert (low, high) == pytest.approx((0.6651, 0.8349), abs=0.012)


def test_the_same_draws_every_time_and_nan_where_nothing_is_defined() -> None:
    values = np.array([1.0, 0.0, 1.0])
    first, second = (lesion_intervals(np.arange(3), share_of(values), rounds=50) for _ in range(2))
    assert np.array_equal(first, second)
    undefined = lesion_intervals(
        np.arange(3), lambda draws: np.full((len(draws), 1), np.nan), rounds=5
    )
    assert np.isnan(undefined).all()


def test_a_metric_that_few_rounds_define_has_no_interval() -> None:
    """Each of 300 classes of five lesions is drawn in one round of eight: those are no fair sample
    of all rounds, and their values lie too near to each other.
    """
    lesions = np.arange(1500)

    def statistic(draws: Draws) -> np.ndarray:
        by_class = draws.counts.reshape(len(draws), 300, 5)
        with np.errstate(invalid="ignore"):
            sensitivities = by_class[:, :, 0] / by_class.sum(axis=2)
        return np.stack([sensitivities.mean(axis=1), sensitivities[:, 0]], axis=1)

    of_all, of_one = lesion_intervals(lesions, statistic, 200)
    assert np.isnan(of_all).all()
    assert not np.isnan(of_one).any()


def test_metrics_that_no_draw_changes_get_the_interval_of_clopper_and_pearson() -> None:
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


def test_metrics_of_fewer_than_five_lesions_have_no_interval() -> None:
    limits = np.array([[0.2, 0.9], [0.2, 0.9]])
    shares = np.array([True, True])
    found = with_width(limits, np.array([0.5, 0.5]), np.array([4, 5]), shares)
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [0.2, 0.9]


def test_the_rarest_class_s_lesions_are_counted() -> None:
    labels = np.array([4, 4, 5, 5, 5], np.int32)
    images = Predictions(
        labels,
        np.full((5, 7), 1 / 7, np.float32),
        list("abcde"),
        np.array([0, 0, 1, 2, 3]),
        HAM10000,
    )
    assert fewest_lesions(images) == 1


def test_intervals_do_not_depend_on_how_many_rounds_are_drawn_at_once() -> None:
    right, lesions = np.arange(40) % 3 > 0, np.arange(40) // 2
    whole, chunked = (
        lesion_intervals(lesions, share_of(right), rounds=50, cells=cells)
        for cells in (2**20, 40 * 7)
    )
    assert np.array_equal(whole, chunked)


def test_sums_count_each_image_as_often_as_its_lesion_is_drawn() -> None:
    lesions = np.array([0, 0, 1, 2])
    draws = draw(lesions, 4, np.random.default_rng(1))
    values = np.arange(8.0).reshape(4, 2)
    assert np.array_equal(draws.sums(values), draws.weights @ values)
    assert (draws.counts.sum(axis=1) == 3).all()
