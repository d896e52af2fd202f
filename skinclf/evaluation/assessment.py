"""All metrics of one set of predictions."""

from collections.abc import Sequence

import numpy as np

from skinclf.evaluation.accuracy import balanced_accuracy, confusion
from skinclf.evaluation.bootstrap import all_lesions
from skinclf.evaluation.calibration import calibration
from skinclf.evaluation.classes import (
    AREAS,
    RATES,
    areas,
    class_intervals,
    class_metrics,
    rates_at_half,
)
from skinclf.evaluation.coverage import coverage_rows
from skinclf.evaluation.metrics import (
    always_majority,
    resampled_names,
    summary,
    summary_intervals,
)
from skinclf.evaluation.operating_points import screening
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import (
    Assessment,
    Calibration,
    ChallengeMetrics,
    ClassMetrics,
    OneVsRest,
    OperatingPoint,
)
from skinclf.evaluation.sources import by_source
from skinclf.evaluation.subgroups import subgroups
from skinclf.evaluation.values import by_name, intervals_by_name
from skinclf.spec.decision import decide

OF_A_CLASS = (*RATES, *AREAS)


def assess(
    predictions: Predictions,
    validation: Predictions,
    *,
    sensitivities: Sequence[float],
    rounds: int,
) -> Assessment:
    """All metrics of a set of predictions.

    `validation` holds the same model's predictions on the validation split: thresholds and
    temperature are chosen on it. `sensitivities` are those wanted of the screened class, `rounds`
    the bootstrap's.
    """
    return assess_with(
        predictions,
        calibration(predictions, validation),
        screening(predictions, validation, sensitivities, rounds),
        rounds,
    )


def assess_with(
    predictions: Predictions,
    calibrated: Calibration,
    points: tuple[OperatingPoint, ...],
    rounds: int,
) -> Assessment:
    """All metrics, with what was chosen on other images already computed."""
    return Assessment(
        taxonomy=predictions.taxonomy,
        images=len(predictions),
        lesions=all_lesions(predictions),
        model=summary(predictions),
        baseline=summary(always_majority(predictions)),
        intervals=intervals_by_name(resampled_names(), summary_intervals(predictions, rounds)),
        bootstrap_samples=rounds,
        classes=_classes(predictions, rounds),
        confusion=confusion(predictions).tolist(),
        isic_2018=_isic_2018(predictions),
        calibration=calibrated,
        screening=points,
        coverage=coverage_rows(predictions),
        subgroups=subgroups(predictions, rounds),
        sources=by_source(predictions, rounds),
    )


def _classes(predictions: Predictions, rounds: int) -> dict[str, ClassMetrics]:
    values, intervals = class_metrics(predictions), class_intervals(predictions, rounds)
    return {
        code: ClassMetrics(
            images=int((predictions.labels == label).sum()),
            **by_name(OF_A_CLASS, values[label]),
            intervals=intervals_by_name(OF_A_CLASS, intervals[label]),
        )
        for label, code in enumerate(predictions.taxonomy.codes)
    }


def _isic_2018(predictions: Predictions) -> ChallengeMetrics:
    labels, probabilities = predictions.labels, predictions.probabilities
    found = [rates_at_half(labels, probabilities), areas(labels, probabilities)]
    rows = np.concatenate(found, axis=1)
    return ChallengeMetrics(
        balanced_accuracy=balanced_accuracy(labels, decide(probabilities)),
        classes={
            code: OneVsRest(**by_name(OF_A_CLASS, row))
            for code, row in zip(predictions.taxonomy.codes, rows, strict=True)
        },
    )
