"""Each class against the rest: rates, AUC and average precision."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, multilabel_confusion_matrix, roc_auc_score

from skinclf.evaluation.accuracy import one_hot
from skinclf.evaluation.bootstrap import Draws, count_lesions, lesion_intervals, with_width
from skinclf.evaluation.predictions import Labels, Predictions, Probabilities

RATES = ("sensitivity", "specificity", "ppv", "npv", "f1")
AREAS = ("auc", "average_precision")
ARE_SHARES = np.array([True, True, True, True, False])
"""Of RATES: a share of images, which F1 is not."""


def rates_by_label(
    labels: Labels, predicted: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """(classes, 5) RATES of each class; predicted: (n,) labels, as decided."""
    return rates(multilabel_confusion_matrix(labels, predicted, labels=range(classes)))


def rates_at_half(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """(classes, 5) RATES of each class, predicted where its output is above 0.5.

    ISIC 2018 task 3's way for single classes. An image may have no predicted class.
    """
    truth = one_hot(labels, probabilities.shape[1])
    return rates(multilabel_confusion_matrix(truth, probabilities > 0.5))


def rates(counts: NDArray) -> NDArray[np.float64]:
    """(…, 2, 2) counts [[true negatives, false positives], [false negatives, true positives]] →
    (…, 5) RATES; nan where nothing defines one.
    """
    (tn, fp), (fn, tp) = np.moveaxis(counts.astype(np.float64), (-2, -1), (0, 1))
    with np.errstate(invalid="ignore"):
        columns = [
            tp / (tp + fn),
            tn / (tn + fp),
            tp / (tp + fp),
            tn / (tn + fn),
            2 * tp / (2 * tp + fp + fn),
        ]
    return np.stack(columns, axis=-1)


def rates_of_totals(
    images: NDArray[np.float64],
    true: NDArray[np.float64],
    predicted: NDArray[np.float64],
    hits: NDArray[np.float64],
) -> NDArray[np.float64]:
    """RATES, (…, 5), of totals (…): all images, those of the class, those predicted, and both."""
    cells = [images - true - predicted + hits, predicted - hits, true - hits, hits]
    return rates(np.stack(np.broadcast_arrays(*cells), axis=-1).reshape(*hits.shape, 2, 2))


def lesions_of_rates(
    lesions: NDArray[np.int64], truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
) -> list[int]:
    """Of how many lesions each of a class's RATES is. truth, predicted: (n,) of the class."""
    parts = (truth, ~truth, predicted, ~predicted, truth)
    return [count_lesions(lesions, part) for part in parts]


def areas(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """(classes, 2) AREAS of each class against the rest; nan where one of the two is missing."""
    classes = probabilities.shape[1]
    found = np.full((classes, len(AREAS)), np.nan)
    truth = one_hot(labels, classes)
    for label in range(classes):
        if 0 < truth[:, label].sum() < len(labels):
            arguments = truth[:, label], probabilities[:, label]
            found[label] = roc_auc_score(*arguments), average_precision_score(*arguments)
    return found


def resampled_rates(predictions: Predictions, draws: Draws) -> NDArray[np.float64]:
    """(rounds, classes, 5) `rates_by_label` in each round."""
    classes = len(predictions.taxonomy)
    truth, predicted = (
        one_hot(labels, classes) for labels in (predictions.labels, predictions.predicted)
    )
    columns = np.concatenate([truth, predicted, truth & predicted], axis=1)
    images = draws.counts @ np.bincount(draws.lesions, minlength=draws.counts.shape[1])
    return rates_of_totals(images[:, None], *np.split(draws.sums(columns), 3, axis=1))


def resampled_areas(
    truth: NDArray[np.bool_], scores: Probabilities, draws: Draws
) -> NDArray[np.float64]:
    """(rounds, 2) AREAS of one class in each round. truth, scores: (n,).

    Images are sorted by score once; cumulative sums of the rounds' weights give each round's true
    and false positives at every threshold. AUC by trapezoids, average precision as the sum of
    precision times the steps of recall, both as scikit-learn defines them. Images of one score
    share a threshold.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    weights = draws.weights[:, order]
    flagged = weights.cumsum(axis=1)[:, ends]
    found = (weights * truth[order]).cumsum(axis=1)[:, ends]
    steps = np.diff(found, axis=1, prepend=0)
    false_steps = np.diff(flagged - found, axis=1, prepend=0)
    positives, negatives = found[:, -1], (flagged - found)[:, -1]
    precision = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = (false_steps * (found - steps / 2)).sum(axis=1) / (positives * negatives)
        average_precision = (steps * precision).sum(axis=1) / positives
    both = np.stack([auc, average_precision], axis=1)
    both[(positives == 0) | (negatives == 0)] = np.nan
    return both


def class_metrics(predictions: Predictions) -> NDArray[np.float64]:
    """(classes, 7) RATES and AREAS of each class, predicted where it is decided on."""
    by_label = rates_by_label(predictions.labels, predictions.predicted, len(predictions.taxonomy))
    return np.concatenate([by_label, areas(predictions.labels, predictions.probabilities)], axis=1)


def class_intervals(predictions: Predictions, rounds: int) -> NDArray[np.float64]:
    """(classes, 7, 2) 95% intervals of `class_metrics`."""
    classes = len(predictions.taxonomy)
    truth = one_hot(predictions.labels, classes)
    predicted = one_hot(predictions.predicted, classes)
    scores, lesions = predictions.probabilities, predictions.lesions

    def statistic(draws: Draws) -> NDArray[np.float64]:
        by_class = [resampled_areas(truth[:, n], scores[:, n], draws) for n in range(classes)]
        all_rates = resampled_rates(predictions, draws)
        metrics = np.concatenate([all_rates, np.stack(by_class, axis=1)], axis=2)
        return metrics.reshape(len(draws), -1)

    counts = []
    for label in range(classes):
        of_rates = lesions_of_rates(lesions, truth[:, label], predicted[:, label])
        both = min(of_rates[:2])  # areas are of the images with and of those without the class
        counts += [*of_rates, *[both] * len(AREAS)]
    shares = np.array([*ARE_SHARES, *[False] * len(AREAS)] * classes)
    values = class_metrics(predictions).ravel()
    intervals = lesion_intervals(lesions, statistic, rounds)
    return with_width(intervals, values, np.array(counts), shares).reshape(classes, -1, 2)
