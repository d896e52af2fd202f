"""How good predictions are in each part of the images: each source, each fold."""

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.accuracy import accuracies, balanced_accuracies
from skinclf.evaluation.bootstrap import Draws, all_lesions, count_lesions, estimates
from skinclf.evaluation.calibration import expected_calibration_error, reliability
from skinclf.evaluation.predictions import SOURCE, UNKNOWN, Predictions
from skinclf.evaluation.result import PartMetrics
from skinclf.evaluation.values import by_name, intervals_by_name

LEAST_IMAGES = 10
"""A class with fewer images in a part does not count in its balanced accuracy, which one lesion
would move by percents."""

MOST_SOURCES = 100
"""The column may hold anything: each value is a bootstrap and a row of the report."""

LEAST_FOR_A_CURVE = 100
"""Images of a part: of fewer a reliability curve shows chance."""


def by_source(predictions: Predictions, rounds: int) -> dict[str, PartMetrics]:
    """Source → metrics of its images, the MOST_SOURCES largest, by size; empty where no image has
    a source.
    """
    values = predictions.groups.get(SOURCE)
    if values is None or (values == UNKNOWN).all():
        return {}
    names, images = np.unique(values, return_counts=True)
    return {
        str(names[n]): part_metrics(predictions.subset(values == names[n]), rounds)
        for n in np.argsort(-images, kind="stable")[:MOST_SOURCES]
    }


def part_metrics(part: Predictions, rounds: int) -> PartMetrics:
    """The metrics of a part of the images; balanced accuracy over classes of LEAST_IMAGES."""
    images = np.bincount(part.labels, minlength=len(part.taxonomy))
    counted = np.flatnonzero(images >= LEAST_IMAGES).astype(np.int32)
    names = ["accuracy", "balanced_accuracy"]

    def statistic(draws: Draws) -> NDArray[np.float64]:
        balanced = (
            balanced_accuracies(part, draws, counted)
            if len(counted)
            else np.full(len(draws), np.nan)
        )
        return np.stack([accuracies(part, draws), balanced], axis=1)

    lesions = [count_lesions(part.lesions, part.labels == label) for label in counted]
    of_lesions = [all_lesions(part), min(lesions, default=0)]
    values, limits = estimates(
        part.lesions, statistic, rounds, of_lesions=of_lesions, shares=[True, False]
    )
    has_curve = len(part) >= LEAST_FOR_A_CURVE
    return PartMetrics(
        images=len(part),
        lesions=all_lesions(part),
        **by_name(names, values),  # type: ignore[arg-type]
        counted=tuple(part.taxonomy.codes[label] for label in counted),
        expected_calibration_error=expected_calibration_error(part.labels, part.probabilities),
        reliability=reliability(part.labels, part.probabilities) if has_curve else (),
        intervals=intervals_by_name(names, limits),
    )
