"""All figures of one evaluation: what metrics.json holds."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.accuracy import (
    always_majority,
    balanced_accuracy,
    confusion,
    right_outputs,
    summary,
    weighted_accuracies,
)
from skinclf.evaluation.bootstrap import (
    count_lesions,
    fewest_lesions,
    lesion_intervals,
    with_width,
)
from skinclf.evaluation.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability,
    tempered,
)
from skinclf.evaluation.classes import (
    ARE_SHARES,
    AREAS,
    RATES,
    areas,
    lesions_of_rates,
    rates_at_half,
    rates_by_answer,
)
from skinclf.evaluation.coverage import coverage_rows
from skinclf.evaluation.operating_points import screening
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.subgroups import subgroups
from skinclf.evaluation.values import by_name, number
from skinclf.spec.taxonomy import CODES, label_of

WHOLE = ("accuracy", "balanced_accuracy", "binary_accuracy")
"""The figures of the whole set that have intervals."""


def assess(
    predictions: Predictions,
    validation: Predictions,
    *,
    sensitivities: Sequence[float],
    rounds: int,
) -> dict[str, Any]:
    """What is told of a set of predictions.

    `validation` is the same model's answers to the validation split: thresholds and temperature
    are chosen on it. `sensitivities` are those at which melanoma is screened for, `rounds` the
    bootstrap's.
    """
    labels, probabilities = predictions.labels, predictions.probabilities
    whole, classes = _intervals(predictions, rounds)
    return {
        "images": len(predictions),
        "lesions": int(predictions.lesions.max()) + 1,
        "model": summary(labels, probabilities),
        "baseline": summary(labels, always_majority(probabilities)),
        "intervals": {
            name: [number(low), number(high)]
            for name, (low, high) in zip(WHOLE, whole, strict=True)
        },
        "classes": _classes(predictions, classes),
        "confusion": confusion(labels, predictions.answers).tolist(),
        "isic_2018": _isic_2018(predictions),
        "calibration": _calibration(predictions, validation),
        "melanoma": [
            screening(predictions, validation, wanted, rounds) for wanted in sensitivities
        ],
        "coverage": coverage_rows(predictions),
        "subgroups": subgroups(predictions, rounds),
    }


def _intervals(
    predictions: Predictions, rounds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 2) of WHOLE and (7, 7, 2) of each class's RATES and AREAS, from the same draws."""
    labels, answers = predictions.labels, predictions.answers
    whole = whole_set(predictions)

    def figures(weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        by_class = [
            rates_by_answer(labels, answers, weights),
            areas(labels, predictions.probabilities, weights),
        ]
        of_all = whole(np.ones(len(labels)) if weights is None else weights)
        return np.concatenate([of_all, np.concatenate(by_class, axis=1).ravel()])

    intervals = lesion_intervals(predictions.lesions, figures, rounds)
    intervals = with_width(intervals, figures(None), *_lesions_and_shares(predictions))
    return intervals[:3], intervals[3:].reshape(len(CODES), len(RATES) + len(AREAS), 2)


def _lesions_and_shares(
    predictions: Predictions,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of how many lesions each figure of `_intervals` is, and whether it is a share of these."""
    labels, answers, lesions = predictions.labels, predictions.answers, predictions.lesions
    everyone = count_lesions(lesions, np.ones(len(labels), bool))
    counts = [everyone, fewest_lesions(lesions, labels), everyone]
    for label in range(len(CODES)):
        of_rates = lesions_of_rates(lesions, labels == label, answers == label)
        counts += [*of_rates, *[of_rates[0]] * len(AREAS)]
    a_class = [*ARE_SHARES, *[False] * len(AREAS)]
    return np.array(counts), np.array([True, False, False, *a_class * len(CODES)])


def whole_set(
    predictions: Predictions,
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """What takes weights (n,), how often each image counts, and gives (3,) WHOLE."""
    labels, answers = predictions.labels, predictions.answers
    outputs = right_outputs(labels, predictions.probabilities)

    def figures(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        accuracies = weighted_accuracies(labels, answers, weights)
        return np.array([*accuracies, np.average(outputs, weights=weights)])

    return figures


def _classes(predictions: Predictions, intervals: NDArray[np.float64]) -> dict[str, Any]:
    labels, probabilities = predictions.labels, predictions.probabilities
    by_answer = rates_by_answer(labels, predictions.answers)
    values = np.concatenate([by_answer, areas(labels, probabilities)], axis=1)
    return {
        code: {
            "images": int((labels == label).sum()),
            **by_name((*RATES, *AREAS), values[label], intervals[label]),
        }
        for label, code in enumerate(CODES)
    }


def _isic_2018(predictions: Predictions) -> dict[str, Any]:
    """As the scorer of the ISIC 2018 challenge, task 3, defines it; None where it gives 1."""
    rates = rates_at_half(predictions.labels, predictions.probabilities)
    found = areas(predictions.labels, predictions.probabilities)
    names = (*RATES, *AREAS)
    values = np.concatenate([rates, found], axis=1)
    return {
        "balanced_accuracy": balanced_accuracy(predictions.labels, predictions.answers),
        "classes": {
            code: dict(zip(names, map(number, values[label_of(code)]), strict=True))
            for code in CODES
        },
    }


def _calibration(predictions: Predictions, validation: Predictions) -> dict[str, Any]:
    """Before and after temperature scaling, fitted on validation."""
    temperature = fit_temperature(validation.labels, validation.probabilities)
    after = tempered(predictions.probabilities, temperature)
    return {
        "temperature": temperature,
        **{
            name: {
                "expected_calibration_error": expected_calibration_error(
                    predictions.labels, probabilities
                ),
                "categorical_crossentropy": summary(predictions.labels, probabilities)[
                    "categorical_crossentropy"
                ],
                "reliability": reliability(predictions.labels, probabilities),
            }
            for name, probabilities in (("as_it_is", predictions.probabilities), ("scaled", after))
        },
    }
