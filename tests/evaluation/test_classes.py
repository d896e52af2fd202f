import csv
import json
from pathlib import Path

import numpy as np
import pytest

from skinclf.evaluation.accuracy import balanced_accuracy
from skinclf.evaluation.bootstrap import Draws
from skinclf.evaluation.classes import (
    AREAS,
    RATES,
    areas,
    class_intervals,
    rates,
    rates_at_half,
    rates_by_label,
    resampled_areas,
    resampled_rates,
)
from skinclf.evaluation.predictions import Predictions
from skinclf.spec.taxonomy import HAM10000, Taxonomy

CODES, label_of = HAM10000.codes, HAM10000.label_of
DATA = Path(__file__).parent.parent / "data"


def test_rates_of_a_table_of_four() -> None:
    """8 found, 2 missed, 1 false alarm, 9 rightly left."""
    (row,) = rates(np.array([[[9, 1], [2, 8]]]))
    assert row == pytest.approx([8 / 10, 9 / 10, 8 / 9, 9 / 11, 16 / 19])


def test_what_nothing_defines_is_nan() -> None:
    row = rates(np.array([[[4, 0], [0, 0]]]))[0]
    assert [name for name, value in zip(RATES, row, strict=True) if np.isnan(value)] == [
        "sensitivity",
        "ppv",
        "f1",
    ]
    nothing = areas(np.array([5, 5], np.int32), np.full((2, 7), 1 / 7, np.float32))
    assert np.isnan(nothing).all()


def test_areas_of_fewer_than_five_lesions_on_either_side_have_no_interval() -> None:
    """In two classes the AUC of one is that of the other."""
    own = Taxonomy(codes=("mel", "nv"))
    random = np.random.default_rng(3)
    for few, known in ((3, False), (6, True)):
        labels = np.array([0] * few + [1] * 60, np.int32)
        scores = random.uniform(size=len(labels)).astype(np.float32)
        probabilities = np.stack([scores, 1 - scores], axis=1)
        names = [str(n) for n in range(len(labels))]
        images = Predictions(labels, probabilities, names, np.arange(len(labels)), own)
        auc = class_intervals(images, 50)[:, len(RATES)]
        assert np.isfinite(auc).all() == known
        assert np.isnan(auc).all() != known


def test_the_predicted_class_is_the_most_probable() -> None:
    labels = np.array([label_of(code) for code in ("nv", "nv", "nv", "mel")], np.int32)
    predicted = np.array([label_of(code) for code in ("nv", "nv", "mel", "mel")])
    found = dict(zip(CODES, rates_by_label(labels, predicted, 7), strict=True))
    assert found["nv"] == pytest.approx([2 / 3, 1, 1, 1 / 2, 4 / 5])
    assert found["mel"] == pytest.approx([1, 2 / 3, 1 / 2, 1, 2 / 3])


def test_an_image_that_counts_twice_is_there_twice() -> None:
    labels, predicted = np.array([4, 4, 5], np.int32), np.array([4, 5, 5])
    probabilities = np.eye(7, dtype=np.float32)[predicted] * 0.5 + 0.07
    images = Predictions(labels, probabilities, ["a", "b", "c"], np.arange(3), HAM10000)
    draws = Draws(np.array([[2.0, 1, 0], [2.0, 1, 1]]), images.lesions)
    for place, repeated in enumerate(([0, 0, 1], [0, 0, 1, 2])):
        assert resampled_rates(images, draws)[place] == pytest.approx(
            rates_by_label(labels[repeated], predicted[repeated], 7), nan_ok=True
        )
        found = [
            resampled_areas(labels == label, probabilities[:, label], draws)[place]
            for label in range(7)
        ]
        assert np.array(found) == pytest.approx(
            areas(labels[repeated], probabilities[repeated]), nan_ok=True
        )


def test_definitions_are_those_of_the_isic_2018_scorer() -> None:
    """Expected: what isic-challenge-scoring prints for these 80 predictions, stored as numbers."""
    expected = json.loads((DATA / "isic_2018_scores.json").read_text())
    rows = list(csv.DictReader((DATA / "isic_2018_predictions.csv").read_text().splitlines()))
    labels = np.array([label_of(row["truth"].lower()) for row in rows], np.int32)
    probabilities = np.array([[row[code.upper()] for code in CODES] for row in rows], np.float32)
    assert balanced_accuracy(labels, probabilities.argmax(axis=1)) == pytest.approx(
        expected["balanced_accuracy"]
    )
    columns = np.concatenate(
        [rates_at_half(labels, probabilities), areas(labels, probabilities)], axis=1
    )
    theirs = {"f1": "dice", "average_precision": "ap"}
    for place, name in enumerate((*RATES, *AREAS)):
        column = expected["per_category"][theirs.get(name, name)]
        ours = dict(zip(CODES, columns[:, place], strict=True))
        # Where no image is above 0.5 the scorer calls the PPV 1; we leave it open.
        told = {code: value for code, value in ours.items() if not np.isnan(value)}
        assert told == pytest.approx({code: column[code.upper()] for code in told}), name
        assert all(column[code.upper()] == 1 for code in ours.keys() - told.keys()), name
