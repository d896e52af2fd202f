"""The screened class against the rest at a sensitivity that the user chooses."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.bootstrap import (
    CHUNK_CELLS,
    LEAST_LESIONS,
    SEED,
    Draws,
    count_lesions,
    draw,
    lesion_intervals,
    single_round,
    with_width,
)
from skinclf.evaluation.classes import ARE_SHARES, RATES, lesions_of_rates, rates_of_totals
from skinclf.evaluation.predictions import Predictions, Probabilities
from skinclf.evaluation.result import OperatingPoint
from skinclf.evaluation.values import by_name, intervals_by_name


class Threshold(NamedTuple):
    """A probability from which on an image is flagged, and the sensitivity to expect of it."""

    value: float
    expected_sensitivity: float


def threshold_for(validation: Predictions, sensitivity: float) -> Threshold:
    """The highest threshold that is expected to find so large a share of other positives.

    Positives are images of the screened class. The threshold is chosen on validation images and
    then kept: chosen on the test set it would be too good. One more positive exceeds the k-th
    highest probability of n with a chance of k / (n + 1): k is ceil(sensitivity * (n + 1)), and n
    where that is more than there are. 0 where validation has no positive: everything is flagged.
    """
    truth, scores = screened(validation)
    found = scores[truth]
    count = len(found)
    if count == 0:
        return Threshold(0.0, 1.0)
    rank = positives_to_find(count, sensitivity)
    return Threshold(float(np.sort(found)[-rank]), expected_sensitivity(count, sensitivity))


def expected_sensitivity(count: int, sensitivity: float) -> float:
    """The share of other positives that is expected to be found where so large a share is wanted,
    and `count` are there to choose on: less than that where they are too few.
    """
    return positives_to_find(count, sensitivity) / (count + 1)


def positives_to_find(count: int, sensitivity: float) -> int:
    """How many of `count` positives to find, so that a share of others is expected to be found."""
    return min(max(1, math.ceil(sensitivity * (count + 1) - 1e-9)), count)


def screened(predictions: Predictions) -> tuple[NDArray[np.bool_], Probabilities]:
    """(n,) whether an image is of the screened class, and (n,) its probability of that class."""
    label = predictions.taxonomy.label_of(predictions.taxonomy.screened)
    return predictions.labels == label, predictions.probabilities[:, label]


def screening(
    predictions: Predictions, validation: Predictions, sensitivities: Sequence[float], rounds: int
) -> tuple[OperatingPoint, ...]:
    """RATES with intervals at the threshold for each of `sensitivities`; none where no class is
    screened.

    Each round of the bootstrap draws validation lesions, too, and chooses the threshold anew: the
    intervals hold the chance of the choice. There are none where so few lesions of the class are
    there to choose on that a round may well draw none of them.
    """
    if not predictions.taxonomy.screened or not sensitivities:
        return ()
    random = np.random.default_rng(SEED + 1)

    def statistic(draws: Draws) -> NDArray[np.float64]:
        drawn = draws if validation is predictions else draw(validation.lesions, len(draws), random)
        thresholds = resampled_thresholds(validation, sensitivities, drawn)
        return resampled_rates_above(predictions, thresholds, draws).reshape(len(draws), -1)

    # Each chunk holds the validation images of its rounds as well.
    cells = CHUNK_CELLS * len(predictions) // max(len(predictions), len(validation))
    limits = lesion_intervals(predictions.lesions, statistic, rounds, cells=cells)
    limits = limits.reshape(len(sensitivities), len(RATES), 2)
    if count_lesions(validation.lesions, screened(validation)[0]) < LEAST_LESIONS:
        limits[:] = np.nan
    return tuple(
        _operating_point(predictions, wanted, threshold_for(validation, wanted), of_one)
        for wanted, of_one in zip(sensitivities, limits, strict=True)
    )


def resampled_thresholds(
    validation: Predictions, sensitivities: Sequence[float], draws: Draws
) -> Probabilities:
    """(rounds, s) the value of `threshold_for` on the validation images of each round."""
    truth, scores = screened(validation)
    found = scores[truth]
    thresholds = np.zeros((len(draws), len(sensitivities)), scores.dtype)
    if len(found) == 0:
        return thresholds
    order = np.argsort(-found, kind="stable")
    lesions = validation.lesions[truth][order]
    drawn = draws.counts[:, lesions].cumsum(axis=1)  # positives from the highest probability on
    count = drawn[:, -1]
    for place, sensitivity in enumerate(sensitivities):
        rank = np.minimum(np.ceil(sensitivity * (count + 1) - 1e-9), count)
        kth = (drawn < rank[:, None]).sum(axis=1)
        thresholds[:, place] = np.where(count > 0, found[order][kth], 0)
    return thresholds


def resampled_rates_above(
    predictions: Predictions, thresholds: Probabilities, draws: Draws
) -> NDArray[np.float64]:
    """(rounds, s, 5) RATES in each round, flagged from its `thresholds` (rounds, s) on."""
    truth, scores = screened(predictions)
    order = np.argsort(-scores, kind="stable")
    weights = draws.weights[:, order]
    images, true = (
        np.pad(counted.cumsum(axis=1), ((0, 0), (1, 0)))  # of the first 0, 1, … n images
        for counted in (weights, weights * truth[order])
    )
    flagged = len(scores) - np.searchsorted(scores[order][::-1], thresholds)
    return rates_of_totals(
        images[:, -1:],
        true[:, -1:],
        np.take_along_axis(images, flagged, axis=1),
        np.take_along_axis(true, flagged, axis=1),
    )


def _operating_point(
    predictions: Predictions, wanted: float, threshold: Threshold, limits: NDArray[np.float64]
) -> OperatingPoint:
    """The point values at a threshold, with the bootstrap's `limits`, (5, 2)."""
    truth, scores = screened(predictions)
    flagged = scores >= threshold.value
    whole = single_round(predictions.lesions)
    chosen = np.full((1, 1), threshold.value, scores.dtype)
    values = resampled_rates_above(predictions, chosen, whole)[0, 0]
    counts = np.array(lesions_of_rates(predictions.lesions, truth, flagged))
    limits = with_width(limits, values, counts, ARE_SHARES)
    return OperatingPoint(
        wanted_sensitivity=wanted,
        expected_sensitivity=threshold.expected_sensitivity,
        threshold=threshold.value,
        flagged=int(flagged.sum()),
        **by_name(RATES, values),  # type: ignore[arg-type]
        intervals=intervals_by_name(RATES, limits),
    )
