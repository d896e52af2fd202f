"""What is gained by leaving the doubtful images to a person."""

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.predictions import Predictions

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def coverage_curve(predictions: Predictions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) shares answered, from the surest image on, and (n,) the accuracy on those answered."""
    order = np.argsort(-predictions.confidence, kind="stable")
    right = (predictions.answers == predictions.labels)[order]
    answered = np.arange(1, len(right) + 1)
    return answered / len(right), np.cumsum(right) / answered


def coverage_rows(predictions: Predictions) -> list[dict[str, float]]:
    """`coverage`, `accuracy` and the lowest `confidence` answered, at SHARES."""
    _, accuracy = coverage_curve(predictions)
    confidence = np.sort(predictions.confidence)[::-1]
    places = [max(int(np.ceil(share * len(predictions))) - 1, 0) for share in SHARES]
    return [
        {
            "coverage": share,
            "accuracy": float(accuracy[place]),
            "confidence": float(confidence[place]),
        }
        for share, place in zip(SHARES, places, strict=True)
    ]
