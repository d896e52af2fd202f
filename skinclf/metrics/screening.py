"""One class against the rest at a sensitivity that somebody has chosen."""

import numpy as np
from sklearn.metrics import roc_curve

from skinclf.labels import label_of
from skinclf.metrics.classes import RATES, Weights, rates
from skinclf.metrics.intervals import lesion_intervals
from skinclf.metrics.values import by_name
from skinclf.predictions import Predictions

SCREENED = "mel"


def threshold_for(validation: Predictions, sensitivity: float) -> float:
    """The highest threshold at which so large a share of the validation melanomas is found.

    Chosen on validation images and then kept: chosen on the test set it would be too good.
    0 where validation has no melanoma: everything is taken for one.
    """
    label = label_of(SCREENED)
    truth = validation.labels == label
    if not truth.any():
        return 0.0
    _, found, thresholds = roc_curve(
        truth, validation.probabilities[:, label], drop_intermediate=False
    )
    return float(thresholds[np.argmax(found >= sensitivity - 1e-9)])


def screening(
    predictions: Predictions, validation: Predictions, wanted: float, rounds: int
) -> dict[str, object]:
    """Melanoma or not, at the threshold for `wanted` sensitivity: RATES with intervals."""
    threshold = threshold_for(validation, wanted)
    label = label_of(SCREENED)
    truth = predictions.labels == label
    flagged = predictions.probabilities[:, label] >= threshold

    def figures(weights: Weights) -> np.ndarray:
        cells = np.bincount(2 * truth + flagged, weights, minlength=4).astype(float)
        return rates(cells.reshape(1, 2, 2))[0]

    intervals = lesion_intervals(predictions.lesions, figures, rounds)
    return {
        "wanted_sensitivity": wanted,
        "threshold": threshold,
        "flagged": int(flagged.sum()),
        **by_name(RATES, figures(None), intervals),
    }
