"""Weights of classes, chosen on validation images for what decisions are to be good for."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.accuracy import accuracy, balanced_accuracy
from skinclf.evaluation.calibration import fit_shift
from skinclf.evaluation.operating_points import positives_to_find, screened
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import DecisionMetrics
from skinclf.spec.decision import NEVER, DecisionRule, decide
from skinclf.spec.taxonomy import Taxonomy


def choose_weights(
    asked: DecisionRule, validation: Predictions, trained: Mapping[str, int]
) -> dict[str, float]:
    """Code → weight for a rule that needs validation images; `trained`: code → training images.

    "sensitivity" raises the screened class until so large a share of its images is expected to
    be found. The other rules weigh by costs what the fitted temperature and prior (`fit_shift`)
    make of the probabilities. The two fitted numbers are all that the validation images decide
    on: what a weight makes of the accuracies themselves is a matter of a few images of the rarest
    class (`python -m bench.decisions`).

    A class without a training image is not decided on, unless its cost was named: the network has
    not seen what it looks like, and by its number of images it would be the rarest of all.
    """
    codes = validation.taxonomy.codes
    if asked.rule == "sensitivity":
        return dict.fromkeys(codes, 1.0) | {
            validation.taxonomy.screened: _weight_for(validation, asked.sensitivity)
        }
    counts = np.array([trained.get(code, 0) for code in codes])
    seen = counts > 0
    # The prior of an unseen class was left as it is: see losses.make_objective.
    shares = np.where(seen, counts / max(counts.max(), 1), 1.0)
    temperature, exponent = _fit_of(seen, shares, validation)
    # The highest cost * p^(1/T) * f^e is the highest (cost * f^e)^T * p.
    weights = (_costs(asked, codes, counts) * shares**exponent) ** temperature
    weights[~seen & [code not in asked.costs for code in codes]] = NEVER
    return dict(zip(codes, map(float, weights), strict=True))


def _fit_of(
    seen: NDArray[np.bool_], shares: NDArray[np.float64], validation: Predictions
) -> tuple[float, float]:
    """`fit_shift` of the classes that were trained on alone."""
    known = seen[validation.labels]
    if not known.any():
        return 1.0, 0.0
    labels = (np.cumsum(seen) - 1)[validation.labels[known]]
    return fit_shift(labels, validation.probabilities[known][:, seen], shares[seen])


def _costs(
    asked: DecisionRule, codes: Sequence[str], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What a missed image of each class costs, (classes,). Of an accuracy: what it loses by that,
    relative to an image of the class with most training images (`counts`).
    """
    if asked.rule == "costs":
        return np.array([asked.costs.get(code, 1.0) for code in codes])
    # An image is one of all in top-1, and one of its class in a mean over classes.
    seen = np.count_nonzero(counts)
    lost = {
        "accuracy": np.full(len(codes), 1 / counts.sum()),
        "balanced_accuracy": 1 / (seen * np.maximum(counts, 1)),
    }
    lost["both_accuracies"] = lost["accuracy"] + lost["balanced_accuracy"]
    costs: NDArray[np.float64] = lost[asked.rule]
    return costs / costs[counts.argmax()]


def decision_metrics(
    asked: DecisionRule, weights: Mapping[str, float], predictions: Predictions
) -> DecisionMetrics:
    """How the predicted classes were decided on, beside the metrics of the most probable ones."""
    labels, probable = predictions.labels, decide(predictions.probabilities)
    return DecisionMetrics(
        asked=asked,
        weights=dict(weights),
        accuracy=accuracy(labels, probable),
        balanced_accuracy=balanced_accuracy(labels, probable),
    )


def check_rule(asked: DecisionRule, taxonomy: Taxonomy) -> str:
    """What keeps a rule from being used with these classes; "" where nothing does."""
    unknown = [code for code in asked.costs if code not in taxonomy.codes]
    if unknown:
        return f"costs: {unknown[0]} is no class; known are {', '.join(taxonomy.codes)}"
    if asked.rule == "sensitivity" and not taxonomy.screened:
        return 'rule = "sensitivity" needs a screened class: classes.screened'
    return ""


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
