"""The bootstrap's rounds as matrix products, against scikit-learn round after round."""

import math
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    multilabel_confusion_matrix,
    recall_score,
    roc_auc_score,
)

from skinclf.evaluation.accuracy import accuracies, balanced_accuracies, binary_accuracies, one_hot
from skinclf.evaluation.bootstrap import SEED, Draws, draw
from skinclf.evaluation.classes import rates, resampled_areas, resampled_rates
from skinclf.evaluation.operating_points import (
    resampled_rates_above,
    resampled_thresholds,
    screened,
)
from skinclf.evaluation.predictions import Predictions
from skinclf.spec.taxonomy import HAM10000
from tests.evaluation.drawn import drawn_predictions

ROUNDS = 12
exactly = partial(pytest.approx, rel=0, abs=1e-12, nan_ok=True)


def drawn(predictions: Predictions, seed: int) -> Draws:
    return draw(predictions.lesions, ROUNDS, np.random.default_rng(seed))


@pytest.fixture(params=[(150, 5), (30, 6)], ids=["many", "few"])
def predictions(request: pytest.FixtureRequest) -> Predictions:
    """Of the few images, some rounds draw none of a class."""
    return drawn_predictions(*request.param)


def sequential_weights(predictions: Predictions, seed: int) -> list[np.ndarray]:
    """(n,) how often each image counts, of each round in turn."""
    random, count = np.random.default_rng(seed), int(predictions.lesions.max()) + 1
    rounds = []
    for _ in range(ROUNDS):
        counts = np.bincount(random.integers(0, count, count), minlength=count)
        rounds.append(counts[predictions.lesions].astype(float))
    return rounds


def test_draws_are_those_of_one_round_after_another(predictions: Predictions) -> None:
    assert np.array_equal(drawn(predictions, SEED).weights, sequential_weights(predictions, SEED))


def test_accuracies_agree(predictions: Predictions) -> None:
    draws, labels, predicted = drawn(predictions, 1), predictions.labels, predictions.predicted
    outputs = ((predictions.probabilities > 0.5) == one_hot(labels, 7)).mean(axis=1)
    for place, weights in enumerate(draws.weights):
        top_1 = accuracy_score(labels, predicted, sample_weight=weights)
        assert accuracies(predictions, draws)[place] == exactly(top_1)
        binary = np.average(outputs, weights=weights)
        assert binary_accuracies(predictions, draws)[place] == exactly(binary)
        occurring = np.unique(labels)
        all_drawn = set(labels[weights > 0]) == set(occurring)
        balanced = (
            recall_score(
                labels, predicted, labels=occurring, average="macro", sample_weight=weights
            )
            if all_drawn
            else math.nan
        )
        assert balanced_accuracies(predictions, draws)[place] == exactly(balanced)


def test_rates_and_areas_of_classes_agree(predictions: Predictions) -> None:
    draws, labels = drawn(predictions, 2), predictions.labels
    found = resampled_rates(predictions, draws)
    for place, weights in enumerate(draws.weights):
        counts = multilabel_confusion_matrix(
            labels, predictions.predicted, labels=range(7), sample_weight=weights
        )
        assert found[place] == exactly(rates(counts))
    for label in range(7):
        truth, scores = labels == label, predictions.probabilities[:, label]
        by_round = resampled_areas(truth, scores, draws)
        for place, weights in enumerate(draws.weights):
            expected = [math.nan, math.nan]
            if 0 < weights[truth].sum() < weights.sum():
                expected = [
                    roc_auc_score(truth, scores, sample_weight=weights),
                    average_precision_score(truth, scores, sample_weight=weights),
                ]
            assert by_round[place] == exactly(expected)


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95, 1.0])
def test_thresholds_and_their_rates_agree(predictions: Predictions, wanted: float) -> None:
    validation = drawn_predictions(40, 9)
    draws, drawn_validation = drawn(predictions, 3), drawn(validation, 4)
    thresholds = resampled_thresholds(validation, [wanted], drawn_validation)
    found = resampled_rates_above(predictions, thresholds, draws)
    truth, scores = screened(predictions)
    for place, (weights, of_validation) in enumerate(
        zip(draws.weights, drawn_validation.weights, strict=True)
    ):
        threshold = sequential_threshold(validation, wanted, of_validation)
        assert thresholds[place, 0] == np.float32(threshold)
        flagged = scores >= threshold
        cells = np.bincount(2 * truth + flagged, weights, minlength=4).reshape(2, 2)
        assert found[place, 0] == exactly(rates(cells))


def sequential_threshold(validation: Predictions, wanted: float, weights: np.ndarray) -> float:
    """The k-th highest probability of the positives, each repeated as often as it counts."""
    truth, scores = screened(validation)
    positives = np.repeat(scores[truth], weights[truth].astype(int))
    if not len(positives):
        return 0.0
    rank = min(math.ceil(wanted * (len(positives) + 1) - 1e-9), len(positives))
    return float(np.sort(positives)[-rank])


def test_without_a_validation_positive_everything_is_flagged() -> None:
    validation = drawn_predictions(20, 9)
    validation.labels[:] = HAM10000.label_of("nv")
    thresholds = resampled_thresholds(validation, [0.8], drawn(validation, 4))
    assert not thresholds.any()
    tested = drawn_predictions(20, 5)
    found = resampled_rates_above(tested, thresholds, drawn(tested, 3))
    sensitivities = found[:, 0, 0]
    assert (sensitivities[~np.isnan(sensitivities)] == 1).all()
