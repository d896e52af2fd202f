import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinclf.evaluation import bootstrap, operating_points
from skinclf.evaluation.assessment import assess
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import EvaluationResult
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from tests.evaluation.drawn import drawn_predictions, evaluation_result

EXPECTED = Path(__file__).parent.parent / "data" / "evaluation_metrics.json"
FLOWERS = Taxonomy(codes=("rose", "tulip", "daisy"), majority="tulip", screened="")


def assert_same(found: Any, expected: Any, place: str = "") -> None:
    """The same keys, and numbers that differ by less than 1e-12."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key, value in expected.items():
            assert_same(found[key], value, f"{place}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, value in enumerate(expected):
            assert_same(found[number], value, f"{place}/{number}")
    else:
        assert type(found) is type(expected), place
        assert expected is None or found == pytest.approx(expected, rel=0, abs=1e-12), place


@pytest.mark.parametrize(
    ("name", "validation", "sensitivities"),
    [("other", drawn_predictions(50, 2), (0.8, 0.95)), ("same", None, (0.8,))],
)
def test_the_json_is_that_of_metrics_one_round_after_another(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    validation: Predictions | None,
    sensitivities: tuple[float, ...],
) -> None:
    """Expected: what commit 970deeb gave, a loop over rounds that calls scikit-learn. It had
    intervals at thresholds that were chosen on a few melanomas, too, and of what a single round
    defined.
    """
    monkeypatch.setattr(bootstrap, "LEAST_DEFINED", 0.05)
    monkeypatch.setattr(operating_points, "LEAST_LESIONS", 0)
    predictions = drawn_predictions(60, 1)
    assessment = assess(
        predictions, validation or predictions, sensitivities=sensitivities, rounds=20
    )
    written = json.loads(assessment.model_dump_json())
    assert written.pop("bootstrap_samples") == 20  # which that commit did not write
    assert_same(written, json.loads(EXPECTED.read_text())[name])


def test_metrics_json_is_read_back_as_it_was_written() -> None:
    written = evaluation_result(drawn_predictions(60, 1), sensitivities=(0.8,))
    text = written.to_json()
    assert EvaluationResult.from_json(text) == written
    told = json.loads(text)
    assert list(told)[:7] == [
        *("set", "digest", "tta", "split_by", "chosen_on", "rejects", "leaks"),
    ]
    assert next(iter(told["classes"]["mel"])) == "images"
    assert [row["wanted_sensitivity"] for row in told["melanoma"]] == [0.8]
    assert "taxonomy" not in told  # HAM10000's
    former = told | {"flips": True}
    del former["tta"]
    assert EvaluationResult.from_json(json.dumps(former)).averaged_over == "four mirror images"


def test_what_is_no_evaluation_is_refused() -> None:
    with pytest.raises(ValueError, match="Field required"):
        EvaluationResult.from_json('{"model": {"accuracy": 0.7}}')


def test_another_taxonomy_is_carried_along() -> None:
    written = evaluation_result(drawn_predictions(60, 1, FLOWERS), sensitivities=(0.8,))
    told = json.loads(written.to_json())
    assert list(told["classes"]) == ["rose", "tulip", "daisy"]
    assert np.shape(told["confusion"]) == (3, 3)
    assert (told["screening"], "melanoma" in told) == ([], False)  # no class is screened
    (group, *_) = told["subgroups"]["sex"].values()
    assert set(group) == {"images", "lesions", "accuracy", "balanced_accuracy", "intervals"}
    read = EvaluationResult.from_json(written.to_json())
    assert (read.taxonomy, read) == (FLOWERS, written)


def test_the_screened_class_is_the_taxonomy_s() -> None:
    predictions = drawn_predictions(60, 1)
    other = HAM10000.model_copy(update={"screened": "bcc"})
    of_other = Predictions(
        predictions.labels,
        predictions.probabilities,
        predictions.image_ids,
        predictions.lesions,
        other,
        predictions.groups,
    )
    told = json.loads(evaluation_result(of_other, sensitivities=(0.8,)).to_json())
    assert [row["wanted_sensitivity"] for row in told["screening"]] == [0.8]
    assert "bcc_sensitivity" in told["subgroups"]["sex"]["female"]
