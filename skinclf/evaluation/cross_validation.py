"""Predictions of several models, each of images that it was not trained on → one result."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.assessment import assess_with
from skinclf.evaluation.bootstrap import Draws, estimates
from skinclf.evaluation.calibration import calibration_metrics, tempered
from skinclf.evaluation.classes import ARE_SHARES, RATES, lesions_of_rates, rates_of_totals
from skinclf.evaluation.decisions import decision_metrics
from skinclf.evaluation.operating_points import screened
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import (
    Calibration,
    DecisionMetrics,
    EvaluationResult,
    LeakCounts,
    OperatingPoint,
)
from skinclf.evaluation.values import by_name, intervals_by_name
from skinclf.spec.decision import NEVER


class Pooled(NamedTuple):
    """All test images, and what each fold's evaluation chose on its own validation images."""

    predictions: Predictions
    fold: NDArray[np.int64]  # (n,) whose model predicted the image: a place in `results`
    results: Sequence[EvaluationResult]


def pooled_result(pooled: Pooled, name: str, rounds: int) -> EvaluationResult:
    """The metrics of all test images together; `name` is what the set is called.

    Each model's own temperature and thresholds, chosen on its validation images, are used for the
    images that it predicts, and so are its weights of classes. Temperature, thresholds and weights
    in the result are their means.
    """
    results = pooled.results
    assessment = assess_with(
        pooled.predictions, _calibration(pooled), _screening(pooled, rounds), rounds
    )
    keys: Counter[str] = sum((Counter(each.leaks.by_key) for each in results), Counter())
    leaks = LeakCounts(
        images=sum(each.leaks.images for each in results),
        by_key=dict(sorted(keys.items())),
        near_duplicates=sum(each.leaks.near_duplicates for each in results),
    )
    return EvaluationResult(
        set=name,
        digest=hashlib.sha256("".join(each.digest for each in results).encode()).hexdigest(),
        tta=results[0].tta,
        split_by=results[0].split_by.partition(",")[0],
        chosen_on=results[0].chosen_on,
        rejects={},
        leaks=leaks,
        decision=_decision(pooled),
        **dict(assessment),
    )


def _decision(pooled: Pooled) -> DecisionMetrics | None:
    """None where a model predicts the most probable class."""
    found = [each.decision for each in pooled.results if each.decision]
    if len(found) < len(pooled.results):
        return None
    weights = {
        code: _mean_weight([each.weights[code] for each in found]) for code in found[0].weights
    }
    return decision_metrics(found[0].asked, weights, pooled.predictions)


def _mean_weight(weights: Sequence[float]) -> float:
    """Of the models that know the class."""
    known = [weight for weight in weights if weight > NEVER]
    return float(np.exp(np.mean(np.log(known)))) if known else NEVER


def _calibration(pooled: Pooled) -> Calibration:
    predictions = pooled.predictions
    labels, scaled = predictions.labels, predictions.probabilities.copy()
    temperatures = [each.calibration.temperature for each in pooled.results]
    for place, temperature in enumerate(temperatures):
        where = pooled.fold == place
        scaled[where] = tempered(scaled[where], temperature)
    return Calibration(
        temperature=float(np.exp(np.mean(np.log(temperatures)))),
        as_it_is=calibration_metrics(labels, predictions.probabilities),
        scaled=calibration_metrics(labels, scaled),
    )


def _screening(pooled: Pooled, rounds: int) -> tuple[OperatingPoint, ...]:
    """Each wanted sensitivity at the thresholds of the models; none where no class is screened."""
    points = zip(*(each.screening for each in pooled.results), strict=True)
    return tuple(_operating_point(pooled, of_folds, rounds) for of_folds in points)


def _operating_point(
    pooled: Pooled, points: Sequence[OperatingPoint], rounds: int
) -> OperatingPoint:
    """The intervals hold the chance of the tested lesions, and not that of the thresholds."""
    predictions = pooled.predictions
    truth, scores = screened(predictions)
    thresholds = np.array([point.threshold for point in points], scores.dtype)
    flagged = scores >= thresholds[pooled.fold]
    columns = np.stack([np.ones_like(truth), truth, flagged, truth & flagged], axis=1)

    def statistic(draws: Draws) -> NDArray[np.float64]:
        images, true, predicted, hits = draws.sums(columns).T
        return rates_of_totals(images, true, predicted, hits)

    of_lesions = lesions_of_rates(predictions.lesions, truth, flagged)
    values, limits = estimates(
        predictions.lesions, statistic, rounds, of_lesions=of_lesions, shares=ARE_SHARES
    )
    return OperatingPoint(
        wanted_sensitivity=points[0].wanted_sensitivity,
        expected_sensitivity=float(np.mean([point.expected_sensitivity for point in points])),
        threshold=float(np.mean([point.threshold for point in points])),
        flagged=int(flagged.sum()),
        **by_name(RATES, values),  # type: ignore[arg-type]
        intervals=intervals_by_name(RATES, limits),
    )
