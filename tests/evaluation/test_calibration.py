import numpy as np
import pytest

from skinclf.evaluation.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability,
    tempered,
)

RANDOM = np.random.default_rng(7)


def predictions(confidence: float, right: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """So many predictions "class 0" of one confidence, of which `right` are right."""
    probabilities = np.full((images, 7), (1 - confidence) / 6, np.float32)
    probabilities[:, 0] = confidence
    return np.array([0] * right + [1] * (images - right), np.int32), probabilities


def test_calibration_error_is_the_distance_of_confidence_and_accuracy() -> None:
    first, second = predictions(0.9, 6, 10), predictions(0.5, 15, 30)
    labels, probabilities = (np.concatenate(pair) for pair in zip(first, second, strict=True))
    rows = reliability(labels, probabilities)
    assert [(row.images, row.accuracy) for row in rows] == [(30, 0.5), (10, 0.6)]
    assert expected_calibration_error(labels, probabilities) == pytest.approx(10 / 40 * 0.3)


def test_the_temperature_that_spoilt_predictions_is_found_again() -> None:
    """Predictions whose logits are made twice too large ask for a temperature of 2."""
    logits = RANDOM.normal(0, 1.5, (20_000, 7))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([RANDOM.choice(7, p=row) for row in true], np.int32)
    sharpened = tempered(true.astype(np.float32), 0.5)
    assert fit_temperature(labels, sharpened) == pytest.approx(2, abs=0.06)
    assert np.array_equal(sharpened.argmax(axis=1), true.argmax(axis=1))
