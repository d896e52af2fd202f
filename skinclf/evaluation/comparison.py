"""How much better one model is than another on the same images: paired differences."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.bootstrap import Draws, lesion_intervals, with_width
from skinclf.evaluation.metrics import METRICS, resample, resampled_names
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import Interval
from skinclf.evaluation.values import intervals_by_name


@dataclass(frozen=True)
class Difference:
    """A metric of one model less that of another; `interval` is None where the metric has none."""

    value: float
    interval: Interval | None


def same_images(first: Predictions, other: Predictions) -> bool:
    """Whether both are of the same images, lesions and diagnoses, in the same order."""
    return (
        list(first.image_ids) == list(other.image_ids)
        and np.array_equal(first.labels, other.labels)
        and np.array_equal(first.lesions, other.lesions)
    )


def count_shared(first: Predictions, other: Predictions) -> int:
    """How many image ids both have."""
    return len({*first.image_ids} & {*other.image_ids})


def paired_differences(
    first: Predictions, other: Predictions, rounds: int
) -> dict[str, Difference]:
    """The metrics of `other` less those of `first`, by key of METRICS, with 95% intervals.

    Each round of the bootstrap measures both on the same drawn lesions: a lesion that is hard for
    both models widens the intervals of both, but not that of the difference. Raises ValueError
    unless both are of the same images.
    """
    if not same_images(first, other):
        raise ValueError("paired differences need predictions of the same images")
    values = {name: metric.value(other) - metric.value(first) for name, metric in METRICS.items()}
    names = resampled_names()
    limits = _intervals(first, other, np.array([values[name] for name in names]), rounds)
    intervals = intervals_by_name(names, limits)
    return {name: Difference(value, intervals.get(name)) for name, value in values.items()}


def _intervals(
    first: Predictions, other: Predictions, values: NDArray[np.float64], rounds: int
) -> NDArray[np.float64]:
    """(k, 2) intervals of the differences of the metrics of `resampled_names`."""

    def statistic(draws: Draws) -> NDArray[np.float64]:
        return resample(other, draws) - resample(first, draws)

    lesions = [METRICS[name].lesions(first) for name in resampled_names()]
    return with_width(
        lesion_intervals(first.lesions, statistic, rounds),
        values,
        np.array(lesions, np.int64),
        np.zeros(len(values), bool),
    )
