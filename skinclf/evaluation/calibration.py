"""How well probabilities agree with frequencies, and the temperature that mends them."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from skinclf.evaluation.accuracy import categorical_crossentropy
from skinclf.evaluation.predictions import Labels, Predictions, Probabilities
from skinclf.evaluation.result import Calibration, CalibrationMetrics, ReliabilityBin

BINS = 15
"""Of equal width, as in Guo et al., On Calibration of Modern Neural Networks (2017)."""


def calibration(predictions: Predictions, validation: Predictions) -> Calibration:
    """Before and after temperature scaling, fitted on validation."""
    temperature = fit_temperature(validation.labels, validation.probabilities)
    labels, probabilities = predictions.labels, predictions.probabilities
    return Calibration(
        temperature=temperature,
        as_it_is=calibration_metrics(labels, probabilities),
        scaled=calibration_metrics(labels, tempered(probabilities, temperature)),
    )


def calibration_metrics(labels: Labels, probabilities: Probabilities) -> CalibrationMetrics:
    """How well probabilities agree with frequencies, as they are."""
    return CalibrationMetrics(
        expected_calibration_error=expected_calibration_error(labels, probabilities),
        categorical_crossentropy=categorical_crossentropy(labels, probabilities),
        reliability=reliability(labels, probabilities),
    )


def reliability(labels: Labels, probabilities: Probabilities) -> tuple[ReliabilityBin, ...]:
    """Each bin of confidence that has images."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        ReliabilityBin(
            images=int((bins == n).sum()),
            confidence=float(confidence[bins == n].mean()),
            accuracy=float(right[bins == n].mean()),
        )
        for n in np.unique(bins)
    )


def expected_calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """The mean distance of confidence and accuracy over the bins, by images (Guo et al. 2017)."""
    rows = reliability(labels, probabilities)
    distance = sum(row.images * abs(row.confidence - row.accuracy) for row in rows)
    return distance / len(labels)


def fit_temperature(labels: Labels, probabilities: Probabilities) -> float:
    """The temperature of the highest likelihood: above 1, the model is overconfident.

    It is fitted on validation images and applied to others (Guo et al. 2017).
    """

    def loss(log_temperature: float) -> float:
        p = tempered(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(p[np.arange(len(labels)), labels].clip(1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def fit_shift(
    labels: Labels, probabilities: Probabilities, frequencies: NDArray[np.float64]
) -> tuple[float, float]:
    """(T, e) with which softmax(log p / T + e log f) has the highest likelihood; `frequencies` f,
    (classes,), are above 0.

    e gives back the prior of which logit adjustment takes a part away: probabilities of a model
    that is trained so are too high for rare classes, which no temperature mends.
    """
    logs = np.log(probabilities.astype(np.float64).clip(1e-12))
    prior = np.log(frequencies)

    def loss(found: NDArray[np.float64]) -> float:
        logits = logs / np.exp(found[0]) + found[1] * prior
        own = logits[np.arange(len(labels)), labels]
        return float((logsumexp(logits, axis=1) - own).mean())

    bounds = [(-3, 3), (-2, 2)]
    log_temperature, exponent = minimize(loss, [0.0, 0.0], bounds=bounds).x
    return float(np.exp(log_temperature)), float(exponent)


def tempered(probabilities: Probabilities, temperature: float) -> NDArray[np.float32]:
    """softmax(log p / T), (n, classes): the order of an image's classes stays, their distance
    changes.
    """
    powers = probabilities.astype(np.float64).clip(1e-12) ** (1 / temperature)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
