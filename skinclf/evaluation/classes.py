"""Each class against the rest: rates, AUC and average precision."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, multilabel_confusion_matrix, roc_auc_score

from skinclf.evaluation.accuracy import one_hot
from skinclf.evaluation.bootstrap import count_lesions
from skinclf.evaluation.predictions import Labels, Probabilities
from skinclf.spec.taxonomy import CODES

RATES = ("sensitivity", "specificity", "ppv", "npv", "f1")
AREAS = ("auc", "average_precision")
ARE_SHARES = np.array([True, True, True, True, False])
"""Of RATES: a share of images, which F1 is not."""

Weights = NDArray[np.float64] | None
"""(n,) how often each image counts; None: once."""


def rates_by_answer(
    labels: Labels, answers: NDArray[np.int64], weights: Weights = None
) -> NDArray[np.float64]:
    """(7, 5) RATES of each class, where an image's answer is its likeliest class."""
    counts = multilabel_confusion_matrix(
        labels, answers, labels=range(len(CODES)), sample_weight=weights
    )
    return rates(counts)


def rates_at_half(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """(7, 5) RATES of each class, where every output above 0.5 is a yes: ISIC 2018 task 3's way
    for single classes. An image may have no yes at all.
    """
    truth = one_hot(labels)
    return rates(multilabel_confusion_matrix(truth, probabilities > 0.5))


def rates(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k, 2, 2) counts [[true negatives, false positives], [false negatives, true positives]] →
    (k, 5) RATES; nan where nothing defines one.
    """
    (tn, fp), (fn, tp) = np.moveaxis(counts.astype(np.float64), 0, -1)
    with np.errstate(invalid="ignore"):
        columns = [
            tp / (tp + fn),
            tn / (tn + fp),
            tp / (tp + fp),
            tn / (tn + fn),
            2 * tp / (2 * tp + fp + fn),
        ]
    return np.stack(columns, axis=1)


def lesions_of_rates(
    lesions: NDArray[np.int64], truth: NDArray[np.bool_], answered: NDArray[np.bool_]
) -> list[int]:
    """Of how many lesions each of a class's RATES is. truth, answered: (n,) of the class."""
    parts = (truth, ~truth, answered, ~answered, truth)
    return [count_lesions(lesions, part) for part in parts]


def areas(
    labels: Labels, probabilities: Probabilities, weights: Weights = None
) -> NDArray[np.float64]:
    """(7, 2) AREAS of each class against the rest; nan where one of the two does not occur."""
    found = np.full((len(CODES), len(AREAS)), np.nan)
    truth = one_hot(labels)
    counted = np.ones(len(labels)) if weights is None else weights
    for label in range(len(CODES)):
        yes = counted[truth[:, label]].sum()
        if 0 < yes < counted.sum():
            arguments = truth[:, label], probabilities[:, label]
            found[label] = (
                roc_auc_score(*arguments, sample_weight=weights),
                average_precision_score(*arguments, sample_weight=weights),
            )
    return found
