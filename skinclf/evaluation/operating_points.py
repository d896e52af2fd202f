"""One class against the rest at a sensitivity that somebody has chosen."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.bootstrap import SEED, drawn_weights, lesion_intervals, with_width
from skinclf.evaluation.classes import ARE_SHARES, RATES, Weights, lesions_of_rates, rates
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.values import by_name
from skinclf.spec.taxonomy import label_of

SCREENED = "mel"


class Threshold(NamedTuple):
    """A probability from which on an image is flagged, and the sensitivity to expect of it."""

    value: float
    expected_sensitivity: float


def threshold_for(
    validation: Predictions, sensitivity: float, weights: Weights = None
) -> Threshold:
    """The highest threshold at which so large a share of other melanomas is expected to be found.

    Chosen on validation images and then kept: chosen on the test set it would be too good. Of
    one more melanoma, the k-th highest probability of n is exceeded with a chance of k / (n + 1):
    k is ceil(sensitivity * (n + 1)), and n where that is more than there are. 0 where validation
    has no melanoma: everything is flagged. `weights` (n,): how often each image counts.
    """
    label = label_of(SCREENED)
    melanomas = validation.labels == label
    found = validation.probabilities[melanomas, label]
    if weights is not None:
        found = np.repeat(found, weights[melanomas].astype(int))
    count = len(found)
    if count == 0:
        return Threshold(0.0, 1.0)
    rank = min(math.ceil(sensitivity * (count + 1) - 1e-9), count)
    return Threshold(float(np.sort(found)[-rank]), rank / (count + 1))


def screening(
    predictions: Predictions, validation: Predictions, wanted: float, rounds: int
) -> dict[str, object]:
    """Melanoma or not, at the threshold for `wanted` sensitivity: RATES with intervals.

    Each round of the bootstrap draws validation lesions, too, and chooses the threshold anew: its
    chance is part of the figures'.
    """
    label = label_of(SCREENED)
    truth, scores = predictions.labels == label, predictions.probabilities[:, label]
    threshold = threshold_for(validation, wanted)
    flagged = scores >= threshold.value
    random = np.random.default_rng(SEED + 1)

    def figures(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        drawn = weights if validation is predictions else drawn_weights(validation.lesions, random)
        return _rates(truth, scores >= threshold_for(validation, wanted, drawn).value, weights)

    values = _rates(truth, flagged, None)
    counts = np.array(lesions_of_rates(predictions.lesions, truth, flagged))
    intervals = lesion_intervals(predictions.lesions, figures, rounds)
    return {
        "wanted_sensitivity": wanted,
        "expected_sensitivity": threshold.expected_sensitivity,
        "threshold": threshold.value,
        "flagged": int(flagged.sum()),
        **by_name(RATES, values, with_width(intervals, values, counts, ARE_SHARES)),
    }


def _rates(
    truth: NDArray[np.bool_], flagged: NDArray[np.bool_], weights: Weights
) -> NDArray[np.float64]:
    """(5,) RATES of flagging."""
    cells = np.bincount(2 * truth + flagged, weights, minlength=4).astype(float)
    return rates(cells.reshape(1, 2, 2))[0]
