"""What is gained by leaving the least confident images to a person."""

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import CoverageRow

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def coverage_curve(predictions: Predictions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) shares covered, from the most confident image on, and (n,) the accuracy on those."""
    order = np.argsort(-predictions.confidence, kind="stable")
    right = (predictions.predicted == predictions.labels)[order]
    covered = np.arange(1, len(right) + 1)
    return covered / len(right), np.cumsum(right) / covered


def coverage_rows(predictions: Predictions) -> tuple[CoverageRow, ...]:
    """The curve at SHARES."""
    _, accuracy = coverage_curve(predictions)
    confidence = np.sort(predictions.confidence)[::-1]
    places = [max(int(np.ceil(share * len(predictions))) - 1, 0) for share in SHARES]
    return tuple(
        CoverageRow(
            coverage=share, accuracy=float(accuracy[place]), confidence=float(confidence[place])
        )
        for share, place in zip(SHARES, places, strict=True)
    )
