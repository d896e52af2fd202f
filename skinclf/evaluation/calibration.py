"""Do probabilities mean what they say? And one number that mends them where they do not."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from skinclf.evaluation.predictions import Labels, Probabilities

BINS = 15
"""Of equal width, as in Guo et al., On Calibration of Modern Neural Networks (2017)."""


def reliability(labels: Labels, probabilities: Probabilities) -> list[dict[str, float]]:
    """For each bin of confidence that has images: `images`, mean `confidence`, `accuracy`."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        {
            "images": int((bins == n).sum()),
            "confidence": float(confidence[bins == n].mean()),
            "accuracy": float(right[bins == n].mean()),
        }
        for n in np.unique(bins)
    ]


def expected_calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """The mean distance of confidence and accuracy over the bins, by images (Guo et al. 2017)."""
    rows = reliability(labels, probabilities)
    distance = sum(row["images"] * abs(row["confidence"] - row["accuracy"]) for row in rows)
    return distance / len(labels)


def fit_temperature(labels: Labels, probabilities: Probabilities) -> float:
    """The temperature that makes these images' answers likeliest: above 1, the model is too sure.

    To be fitted on validation images and applied to others (Guo et al. 2017).
    """

    def loss(log_temperature: float) -> float:
        p = tempered(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(p[np.arange(len(labels)), labels].clip(1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def tempered(probabilities: Probabilities, temperature: float) -> NDArray[np.float32]:
    """softmax(log p / T): the order of classes stays, their distance changes."""
    powers = probabilities.astype(np.float64).clip(1e-12) ** (1 / temperature)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
