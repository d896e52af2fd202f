"""Three accuracies and two losses of a whole set of predictions.

The number of classes is that of the columns of `probabilities`, (n, classes). Scikit-learn is
imported by what computes with it: that takes a second, and a training only names the metrics.
"""

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.bootstrap import Draws
from skinclf.evaluation.predictions import Labels, Predictions, Probabilities


def accuracy(labels: Labels, predicted: NDArray[np.int64]) -> float:
    """The share of images whose predicted label is right: top-1 accuracy."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predicted))


def accuracies(predictions: Predictions, draws: Draws) -> NDArray[np.float64]:
    """(rounds,) `accuracy` in each round."""
    return draws.mean(predictions.predicted == predictions.labels)


def balanced_accuracy(labels: Labels, predicted: NDArray[np.int64]) -> float:
    """The mean sensitivity of the classes that occur (ISIC 2018 task 3's goal metric)."""
    from sklearn.metrics import recall_score

    present = np.unique(labels)
    return float(recall_score(labels, predicted, labels=present, average="macro"))


def balanced_accuracies(
    predictions: Predictions, draws: Draws, classes: NDArray[np.int32] | None = None
) -> NDArray[np.float64]:
    """(rounds,) `balanced_accuracy` in each round; of these labels (one or more), or of those that
    occur.

    nan where a round draws no lesion of one of these classes: a mean over the other classes would
    be another metric.
    """
    counted = np.unique(predictions.labels) if classes is None else classes
    truth = predictions.labels[:, None] == counted
    right = truth & (predictions.predicted == predictions.labels)[:, None]
    images, hits = np.split(draws.sums(np.concatenate([truth, right], axis=1)), 2, axis=1)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = (hits / images).mean(axis=1)
    return means


def binary_accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """The share of all outputs that are right when each is rounded at 0.5.

    What Keras calls accuracy under `binary_crossentropy`, and what the paper's 93.93% are: an
    image with a wrong predicted label still has all but two of its outputs right, or all but one.
    """
    return float(_right_outputs(labels, probabilities).mean())


def binary_accuracies(predictions: Predictions, draws: Draws) -> NDArray[np.float64]:
    """(rounds,) `binary_accuracy` in each round."""
    right = _right_outputs(predictions.labels, predictions.probabilities)
    return draws.mean(right.sum(axis=1)) / right.shape[1]


def binary_crossentropy(labels: Labels, probabilities: Probabilities) -> float:
    """The paper's loss: the mean over all outputs, clipped at 1e-7 as Keras does."""
    p = probabilities.astype(np.float64).clip(1e-7, 1 - 1e-7)
    truth = one_hot(labels, p.shape[1])
    return float(-np.where(truth, np.log(p), np.log(1 - p)).mean())


def categorical_crossentropy(labels: Labels, probabilities: Probabilities) -> float:
    """The mean negative log of the true class's probability, clipped at 1e-7 as Keras does."""
    from sklearn.metrics import log_loss

    clipped = probabilities.astype(np.float64).clip(1e-7, 1)
    rows = clipped / clipped.sum(axis=1, keepdims=True)  # sums of 1 exactly, for scikit-learn
    return float(log_loss(labels, rows, labels=range(rows.shape[1])))


def confusion(predictions: Predictions) -> NDArray[np.int64]:
    """(classes, classes) counts: rows the truth, columns the predicted label."""
    from sklearn.metrics import confusion_matrix

    matrix: NDArray[np.int64] = confusion_matrix(
        predictions.labels, predictions.predicted, labels=range(len(predictions.taxonomy))
    )
    return matrix


def one_hot(labels: NDArray, classes: int) -> NDArray[np.bool_]:
    """(n,) labels → (n, classes), True at each image's class."""
    hot: NDArray[np.bool_] = labels[:, None] == np.arange(classes)
    return hot


def _right_outputs(labels: Labels, probabilities: Probabilities) -> NDArray[np.bool_]:
    """(n, classes) whether each output, rounded at 0.5, is right."""
    right: NDArray[np.bool_] = (probabilities > 0.5) == one_hot(labels, probabilities.shape[1])
    return right
