import csv
import json
from pathlib import Path

import numpy as np
import pytest

from skinclf.evaluation.accuracy import balanced_accuracy
from skinclf.evaluation.classes import AREAS, RATES, areas, rates, rates_at_half, rates_by_answer
from skinclf.spec.taxonomy import CODES, label_of

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


def test_an_answer_is_the_likeliest_class() -> None:
    labels = np.array([label_of(code) for code in ("nv", "nv", "nv", "mel")], np.int32)
    answers = np.array([label_of(code) for code in ("nv", "nv", "mel", "mel")])
    found = dict(zip(CODES, rates_by_answer(labels, answers), strict=True))
    assert found["nv"] == pytest.approx([2 / 3, 1, 1, 1 / 2, 4 / 5])
    assert found["mel"] == pytest.approx([1, 2 / 3, 1 / 2, 1, 2 / 3])


def test_an_image_that_counts_twice_is_there_twice() -> None:
    labels, answers = np.array([4, 4, 5], np.int32), np.array([4, 5, 5])
    probabilities = np.eye(7, dtype=np.float32)[answers] * 0.5 + 0.07
    twice = np.array([2.0, 1.0, 0.0])
    repeated = [0, 0, 1]
    assert rates_by_answer(labels, answers, twice) == pytest.approx(
        rates_by_answer(labels[repeated], answers[repeated]), nan_ok=True
    )
    weights = np.array([2.0, 1.0, 1.0])
    repeated = [0, 0, 1, 2]
    assert areas(labels, probabilities, weights) == pytest.approx(
        areas(labels[repeated], probabilities[repeated]), nan_ok=True
    )


def test_definitions_are_those_of_the_isic_2018_scorer() -> None:
    """Expected: what isic-challenge-scoring prints for these 80 answers, stored as numbers."""
    expected = json.loads((DATA / "isic_2018_scores.json").read_text())
    rows = list(csv.DictReader((DATA / "isic_2018_predictions.csv").read_text().splitlines()))
    labels = np.array([label_of(row["truth"].lower()) for row in rows], np.int32)
    probabilities = np.array([[row[code.upper()] for code in CODES] for row in rows], np.float32)
    answers = probabilities.argmax(axis=1)
    assert balanced_accuracy(labels, answers) == pytest.approx(expected["balanced_accuracy"])
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
