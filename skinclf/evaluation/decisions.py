"""Weights of classes, chosen on validation images for what decisions are to be good for."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.accuracy import accuracy, balanced_accuracy
from skinclf.evaluation.calibration import fit_shift
from skinclf.evaluation.operating_points import positives_to_find, screened
from skinclf.evaluation.predictions import Labels, Predictions
from skinclf.evaluation.result import DecisionMetrics
from skinclf.spec.decision import DecisionRule, decide
from skinclf.spec.taxonomy import Taxonomy

EXPONENTS = tuple(sorted((n / 10 for n in range(-10, 16)), key=abs))
"""Of class frequencies, in the order of preference: 0 leaves the probabilities as they are."""

GOALS: dict[str, Callable[[Labels, NDArray[np.int64]], float]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
}


def choose_weights(
    asked: DecisionRule, validation: Predictions, trained: Mapping[str, int]
) -> dict[str, float]:
    """Code → weight for a rule that needs validation images; `trained`: code → training images.

    "accuracy" and "balanced_accuracy" divide the probabilities by a power of the classes'
    frequencies: a shift of the prior, and one number to choose. "costs" weighs by them what
    the fitted temperature and prior (`fit_shift`) make of the probabilities, and so does
    "both_accuracies": what its mean loses by a missed image of a class is a cost, too.
    "sensitivity" raises the screened class until so large a share of its images is expected to
    be found.
    """
    codes = validation.taxonomy.codes
    counts = np.array([max(trained.get(code, 0), 1) for code in codes])
    if asked.rule in ("costs", "both_accuracies"):
        shares = counts / counts.max()
        temperature, exponent = fit_shift(validation.labels, validation.probabilities, shares)
        if asked.rule == "costs":
            costs = np.array([asked.costs.get(code, 1.0) for code in codes])
        else:  # an image is one of all in top-1, and one of its class in a mean over classes
            costs = 1 / counts.sum() + 1 / (len(codes) * counts)
        # The highest cost * p^(1/T) * f^e is the highest (cost * f^e)^T * p.
        weights = (costs * shares**exponent) ** temperature
        return dict(zip(codes, map(float, weights), strict=True))
    if asked.rule == "sensitivity":
        return dict.fromkeys(codes, 1.0) | {
            validation.taxonomy.screened: _weight_for(validation, asked.sensitivity)
        }
    goal = GOALS[asked.rule]

    def reached(exponent: float) -> float:
        weights = tuple(_shift(counts, exponent))
        return goal(validation.labels, decide(validation.probabilities, weights))

    best = max(EXPONENTS, key=reached)  # the first of equals
    return dict(zip(codes, map(float, _shift(counts, best)), strict=True))


def decision_metrics(
    asked: DecisionRule, weights: Mapping[str, float], predictions: Predictions
) -> DecisionMetrics:
    """How the predicted classes were decided on, beside the metrics of the most probable ones."""
    labels, probable = predictions.labels, decide(predictions.probabilities)
    return DecisionMetrics(
        asked=asked,
        weights=dict(weights),
        **{name: goal(labels, probable) for name, goal in GOALS.items()},
    )


def check_rule(asked: DecisionRule, taxonomy: Taxonomy) -> str:
    """What keeps a rule from being used with these classes; "" where nothing does."""
    unknown = [code for code in asked.costs if code not in taxonomy.codes]
    if unknown:
        return f"costs: {unknown[0]} is no class; known are {', '.join(taxonomy.codes)}"
    if asked.rule == "sensitivity" and not taxonomy.screened:
        return 'rule = "sensitivity" needs a screened class: classes.screened'
    return ""


def _shift(counts: NDArray[np.int64], exponent: float) -> NDArray[np.float64]:
    """Weights of classes, 1 for the largest."""
    weights: NDArray[np.float64] = (counts / counts.max()) ** -exponent
    return weights


def _weight_for(validation: Predictions, sensitivity: float) -> float:
    """The lowest weight of the screened class with which so large a share of its other images is
    expected to be found: as `threshold_for` expects it. 1 where validation has none.
    """
    truth, own = screened(validation)
    label = validation.taxonomy.label_of(validation.taxonomy.screened)
    others = np.delete(validation.probabilities, label, axis=1).max(axis=1)
    least = 1e-12  # where a model is so sure that it gives 0, weights stay above 0
    needed = np.sort(
        np.maximum(others[truth].astype(np.float64), least) / np.maximum(own[truth], least)
    )
    if len(needed) == 0:
        return 1.0
    # A little more than what makes it a tie.
    return float(needed[positives_to_find(len(needed), sensitivity) - 1]) * (1 + 1e-6)
