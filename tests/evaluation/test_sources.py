import json

import numpy as np
import pytest

from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import EvaluationResult
from skinclf.evaluation.sources import by_source
from skinclf.spec.taxonomy import Taxonomy
from tests.evaluation.drawn import drawn_predictions, evaluation_result

TWO = Taxonomy(codes=("mel", "nv"))


def hospitals() -> Predictions:
    """20 images of A: 10 mel, 8 right; 10 nv, all right. 12 of B: 2 mel, wrong; 10 nv, 5 right.
    Each is a lesion.
    """
    labels = np.repeat([0, 1, 0, 1], [10, 10, 2, 10]).astype(np.int32)
    right = np.repeat([True, False, True, False, True, False], [8, 2, 10, 2, 5, 5])
    predicted = np.where(right, labels, 1 - labels)
    probabilities = np.where(predicted[:, None] == [0, 1], 0.9, 0.1).astype(np.float32)
    names = [f"I{n}" for n in range(32)]
    sources = np.array(["A"] * 20 + ["B"] * 12)
    return Predictions(labels, probabilities, names, np.arange(32), TWO, {"dataset": sources})


def test_rare_classes_of_a_source_do_not_count_in_its_balanced_accuracy() -> None:
    found = by_source(hospitals(), rounds=50)
    assert list(found) == ["A", "B"]
    assert (found["A"].accuracy, found["A"].balanced_accuracy) == (18 / 20, (8 / 10 + 1) / 2)
    assert found["A"].counted == ("mel", "nv")
    assert found["B"].accuracy == 5 / 12
    assert (found["B"].balanced_accuracy, found["B"].counted) == (5 / 10, ("nv",))
    assert found["B"].expected_calibration_error == pytest.approx(0.9 - 5 / 12)
    low, high = found["A"].intervals["balanced_accuracy"]
    assert low is not None
    assert high is not None
    assert low < 0.9 < high
    assert found["A"].reliability == ()  # too few for a curve


def test_a_source_of_rare_classes_alone_has_no_balanced_accuracy() -> None:
    part = hospitals().subset(np.arange(32) >= 18)
    part.groups["dataset"][:2] = "C"
    found = by_source(part, rounds=5)
    assert (found["C"].images, found["C"].balanced_accuracy) == (2, None)
    assert found["C"].intervals["balanced_accuracy"] == (None, None)


def test_without_sources_the_json_is_what_it_was() -> None:
    predictions = drawn_predictions(300, 1)
    assert "sources" not in json.loads(evaluation_result(predictions).to_json())
    predictions.groups["dataset"] = np.repeat(["unknown"], 300)
    assert "sources" not in json.loads(evaluation_result(predictions).to_json())
    predictions.groups["dataset"] = np.repeat(["unknown", "A"], [100, 200])
    result = evaluation_result(predictions)
    assert list(result.sources) == ["A", "unknown"]
    assert len(result.sources["A"].reliability) > 2
    assert list(result.subgroups) == ["sex", "age", "localization", "dx_type"]
    assert EvaluationResult.from_json(result.to_json()) == result
