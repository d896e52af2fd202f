"""Three accuracies and two losses of a whole set of answers."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, log_loss

from skinclf.evaluation.predictions import Labels, Probabilities
from skinclf.spec.taxonomy import CODES, MAJORITY, label_of


def summary(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Top-1, binary and balanced accuracy, and the two losses, of one set of answers."""
    answers = probabilities.argmax(axis=1)
    return {
        "accuracy": float((answers == labels).mean()),
        "binary_accuracy": binary_accuracy(labels, probabilities),
        "balanced_accuracy": balanced_accuracy(labels, answers),
        "binary_crossentropy": binary_crossentropy(labels, probabilities),
        "categorical_crossentropy": float(
            log_loss(labels, _normalised(probabilities), labels=range(len(CODES)))
        ),
    }


def always_majority(probabilities: Probabilities) -> Probabilities:
    """The answer nv to everything: figures that look good in a collection of which two thirds are
    nv mean something only beside it.
    """
    always = np.zeros_like(probabilities)
    always[:, label_of(MAJORITY)] = 1
    return always


def binary_accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """The share of the 7 outputs that are right when each is rounded at 0.5.

    What Keras calls accuracy under `binary_crossentropy`, and what the paper's 93.93 % are: a
    wrong answer still has five of its seven outputs right.
    """
    return float(right_outputs(labels, probabilities).mean())


def right_outputs(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """(n,) of each image, the share of its 7 outputs that are right when rounded at 0.5."""
    right: NDArray[np.float64] = ((probabilities > 0.5) == one_hot(labels)).mean(axis=1)
    return right


def balanced_accuracy(labels: Labels, answers: NDArray[np.int64]) -> float:
    """The mean sensitivity of the classes that occur (ISIC 2018 task 3's main figure)."""
    counts = confusion(labels, answers)
    present = counts.sum(axis=1) > 0
    return float((counts.diagonal()[present] / counts.sum(axis=1)[present]).mean())


def weighted_accuracies(
    labels: Labels, answers: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """(top-1, balanced) accuracy where each image counts as often as `weights` (n,) say.

    The latter is nan where a class that occurs does not count at all: a mean over the other classes
    would be another figure.
    """
    images = np.bincount(labels, weights, minlength=len(CODES))
    right = np.bincount(labels, weights * (answers == labels), minlength=len(CODES))
    occurs = np.bincount(labels, minlength=len(CODES)) > 0
    with np.errstate(invalid="ignore"):
        sensitivities = right[occurs] / images[occurs]
    return float(right.sum() / images.sum()), float(sensitivities.mean())


def binary_crossentropy(labels: Labels, probabilities: Probabilities) -> float:
    """The paper's loss: the mean over 7 outputs, clipped at 1e-7 as Keras does."""
    p = probabilities.astype(np.float64).clip(1e-7, 1 - 1e-7)
    truth = one_hot(labels)
    return float(-np.where(truth, np.log(p), np.log(1 - p)).mean())


def confusion(labels: Labels, answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """(7, 7) counts: rows the truth, columns the answer."""
    matrix: NDArray[np.int64] = confusion_matrix(labels, answers, labels=range(len(CODES)))
    return matrix


def one_hot(labels: Labels) -> NDArray[np.bool_]:
    """(n, 7) where each image's class stands."""
    return labels[:, None] == np.arange(len(CODES))


def _normalised(probabilities: Probabilities) -> NDArray[np.float64]:
    """float64 rows that sum to 1 exactly, clipped at 1e-7 as Keras does, for scikit-learn."""
    clipped = probabilities.astype(np.float64).clip(1e-7, 1)
    rows: NDArray[np.float64] = clipped / clipped.sum(axis=1, keepdims=True)
    return rows
