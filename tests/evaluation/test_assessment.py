import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from skinclf.evaluation.accuracy import accuracies, balanced_accuracies
from skinclf.evaluation.assessment import assess
from skinclf.evaluation.bootstrap import Draws
from skinclf.evaluation.coverage import coverage_rows
from skinclf.evaluation.operating_points import screening, threshold_for
from skinclf.evaluation.predictions import Predictions, age_band, predictions_of
from skinclf.evaluation.subgroups import subgroups
from skinclf.spec.tables import predictions_schema
from skinclf.spec.taxonomy import HAM10000, probability_column

CODES = HAM10000.codes
MEL, NV = HAM10000.label_of("mel"), HAM10000.label_of("nv")


def melanomas(found: list[float], others: list[float]) -> Predictions:
    """Melanomas and nevi with these probabilities of melanoma; each a lesion."""
    probabilities = np.zeros((len(found) + len(others), 7), np.float32)
    probabilities[:, MEL] = found + others
    probabilities[:, NV] = 1 - probabilities[:, MEL]
    labels = np.array([MEL] * len(found) + [NV] * len(others), np.int32)
    names = [f"I{n}" for n in range(len(labels))]
    return Predictions(labels, probabilities, names, np.arange(len(labels)), HAM10000)


def test_the_threshold_is_chosen_on_validation_and_kept() -> None:
    validation = melanomas([0.9, 0.6, 0.4, 0.2], [0.5, 0.1])
    assert threshold_for(validation, 0.6).value == pytest.approx(0.4)
    tested = melanomas([0.5, 0.3], [0.45, 0.2, 0.1, 0.0])
    (row,) = screening(tested, validation, [0.6], rounds=20)
    assert row.flagged == 2  # 0.5 and 0.45
    assert (row.sensitivity, row.specificity, row.ppv) == (1 / 2, 3 / 4, 1 / 2)


@pytest.mark.parametrize(
    ("wanted", "threshold", "expected"),
    [(0.8, 0.2, 0.8), (0.7, 0.2, 0.8), (0.9, 0.2, 0.8), (0.2, 0.9, 0.2), (1e-12, 0.9, 0.2)],
)
def test_of_one_more_melanoma_the_kth_of_n_is_exceeded_with_a_chance_of_k_in_n_plus_1(
    wanted: float, threshold: float, expected: float
) -> None:
    """Of four melanomas no threshold promises more than 0.8."""
    found = threshold_for(melanomas([0.9, 0.6, 0.4, 0.2], [0.5]), wanted)
    assert found.value == pytest.approx(threshold)
    assert found.expected_sensitivity == pytest.approx(expected)


def test_thresholds_reach_the_wanted_sensitivity_on_other_images() -> None:
    """On average over many validation sets; the k-th of n without the 1 would fall short."""
    random = np.random.default_rng(1)
    reached = []
    for _ in range(300):
        threshold = threshold_for(melanomas(random.random(19).tolist(), []), 0.9)
        reached.append(1 - threshold.value)  # of melanomas whose scores are uniform in 0 to 1
    assert np.mean(reached) == pytest.approx(0.9, abs=0.01)


def test_intervals_at_a_threshold_hold_the_chance_of_its_choice() -> None:
    """With ten validation melanomas most of the width is the threshold's."""
    random = np.random.default_rng(1)
    tested = melanomas(random.random(1000).tolist(), random.random(1000).tolist())
    widths = []
    for count in (10, 1000):
        validation = melanomas(random.random(count).tolist(), [])
        (row,) = screening(tested, validation, [0.8], rounds=200)
        low, high = row.intervals["sensitivity"]
        assert low is not None
        assert high is not None
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def test_with_a_few_validation_melanomas_there_are_no_intervals() -> None:
    random = np.random.default_rng(1)
    tested = melanomas(random.random(100).tolist(), random.random(100).tolist())
    for count, is_known in ((4, False), (5, True)):
        (row,) = screening(tested, melanomas([0.3] * count, [0.1] * 50), [0.8], rounds=50)
        assert (row.intervals["sensitivity"][0] is not None) == is_known
        assert row.sensitivity is not None


def test_free_text_gives_thirty_groups_and_the_rest() -> None:
    places = ["back"] * 50 + [f"{n}" + 10_000 * "x" for n in range(49)] + [None]
    columns: dict[str, list[Any]] = {
        "image_id": [f"{n}" for n in range(100)],
        "localization": places,
        **dict.fromkeys(("dx", "predicted"), ["nv"] * 100),
        **dict.fromkeys(map(probability_column, CODES), [0.1] * 100),
    }
    schema = predictions_schema(HAM10000)
    missing = {name: [None] * 100 for name in schema.names if name not in columns}
    table = pa.Table.from_pydict(columns | missing, schema)
    groups = predictions_of(table, HAM10000).groups["localization"]
    values, counts = np.unique(groups, return_counts=True)
    found = dict(zip(values, counts, strict=True))
    assert (found["back"], found["unknown"]) == (50, 1)
    assert found["all others"] == 49 - 29
    assert len(found) == 1 + 29 + 2


def test_a_draw_without_one_of_the_classes_tells_nothing_of_balanced_accuracy() -> None:
    tested = melanomas([0.1], [0.1, 0.1])
    draws = Draws(np.array([[1.0, 1, 1], [0.0, 2, 1]]), tested.lesions)
    assert accuracies(tested, draws).tolist() == [2 / 3, 1]
    balanced = balanced_accuracies(tested, draws)
    assert balanced[0] == 1 / 2
    assert np.isnan(balanced[1])


def test_the_most_confident_predictions_come_first() -> None:
    """Of ten predictions the two least confident are wrong."""
    tested = melanomas([0.95, 0.94, 0.93, 0.92, 0.45, 0.44], [0.09, 0.08, 0.07, 0.06])
    rows = {row.coverage: row for row in coverage_rows(tested)}
    assert rows[1.0].accuracy == 0.8
    assert rows[0.8].accuracy == 1.0
    assert rows[0.9].confidence == pytest.approx(0.56)


def test_subgroups_have_their_metrics() -> None:
    tested = melanomas([0.9, 0.2], [0.1, 0.2])
    tested.groups["sex"] = np.array(["female", "male", "male", "male"])
    rows = subgroups(tested, rounds=20)["sex"]
    assert (rows["female"].images, rows["female"].accuracy) == (1, 1.0)
    assert (rows["male"].images, rows["male"].accuracy) == (3, 2 / 3)
    assert rows["male"].balanced_accuracy == 1 / 2
    assert rows["male"].model_dump()["mel_sensitivity"] == 0


def test_age_bands() -> None:
    ages = (None, 0.0, 5, 29, 30, 59, 60, 85)
    assert [age_band(age) for age in ages] == [
        "unknown",
        "unknown",
        "0–29",
        "0–29",
        "30–44",
        "45–59",
        "60–74",
        "75+",
    ]


def test_all_metrics_are_json_even_where_classes_are_missing() -> None:
    tested = melanomas([0.9, 0.2], [0.1, 0.2, 0.3])
    assessment = assess(tested, tested, sensitivities=(0.5, 1.0), rounds=30)
    told = json.loads(json.dumps(assessment.model_dump(), allow_nan=False))
    assert told["model"]["accuracy"] == 4 / 5
    low, high = told["intervals"]["accuracy"]
    assert low < 4 / 5 <= high
    assert told["intervals"]["balanced_accuracy"] == [None, None]  # of two melanomas
    assert told["classes"]["nv"]["intervals"]["sensitivity"] == [None, None]
    assert told["classes"]["mel"]["sensitivity"] == 1 / 2
    assert told["classes"]["df"]["sensitivity"] is None
    assert told["classes"]["df"]["intervals"]["auc"] == [None, None]
    assert list(told["classes"]) == list(CODES)
    assert "unlike_validation" not in told  # it was as low on images of other hospitals
