"""The same figures for parts of the patients."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.accuracy import weighted_accuracies
from skinclf.evaluation.bootstrap import (
    count_lesions,
    fewest_lesions,
    lesion_intervals,
    with_width,
)
from skinclf.evaluation.operating_points import SCREENED
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.values import by_name
from skinclf.spec.taxonomy import label_of

FIGURES = ("accuracy", "balanced_accuracy", "mel_sensitivity")
ARE_SHARES = np.array([True, False, True])


def subgroups(predictions: Predictions, rounds: int) -> dict[str, dict[str, dict[str, Any]]]:
    """column → value → `images`, `lesions`, FIGURES and their intervals; values in order."""
    return {
        column: {
            str(value): _figures(predictions.subset(values == value), rounds)
            for value in np.unique(values)
        }
        for column, values in predictions.groups.items()
    }


def _figures(group: Predictions, rounds: int) -> dict[str, Any]:
    labels, answers = group.labels, group.answers
    screened = labels == label_of(SCREENED)
    found = screened & (answers == labels)

    def figures(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            sensitivity = weights[found].sum() / weights[screened].sum()
        return np.array([*weighted_accuracies(labels, answers, weights), sensitivity])

    values = figures(np.ones(len(group)))
    everyone = int(group.lesions.max()) + 1
    counts = [everyone, fewest_lesions(group.lesions, labels)]
    counts.append(count_lesions(group.lesions, screened))
    intervals = with_width(
        lesion_intervals(group.lesions, figures, rounds), values, np.array(counts), ARE_SHARES
    )
    return {"images": len(group), "lesions": everyone, **by_name(FIGURES, values, intervals)}
