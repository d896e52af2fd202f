import json

import numpy as np
import pytest
from numpy.typing import NDArray

from skinclf.evaluation.bootstrap import Draws
from skinclf.evaluation.metrics import METRICS, Metric, summary
from skinclf.evaluation.predictions import Predictions
from skinclf.reporting.tables import metric_rows
from tests.evaluation.drawn import drawn_predictions, evaluation_result


def top_2(predictions: Predictions) -> float:
    return float(hits(predictions).mean())


def hits(predictions: Predictions) -> NDArray[np.bool_]:
    first = np.argsort(-predictions.probabilities, axis=1)[:, :2]
    return (first == predictions.labels[:, None]).any(axis=1)


def resampled_top_2(predictions: Predictions, draws: Draws) -> NDArray[np.float64]:
    return draws.mean(hits(predictions))


TOP_2 = Metric("top-2 accuracy", top_2, form="percent", resampled=resampled_top_2, is_share=True)


def test_a_metric_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in metrics.json, with interval and baseline, and in the rows of all tables."""
    predictions = drawn_predictions(60, 1)
    with monkeypatch.context() as patched:
        patched.setitem(METRICS, "top_2_accuracy", TOP_2)
        found = evaluation_result(predictions, rounds=20)
        told = json.loads(found.to_json())
        value = top_2(predictions)
        assert told["model"]["top_2_accuracy"] == value
        assert told["model"].keys() == told["baseline"].keys()
        low, high = told["intervals"]["top_2_accuracy"]
        assert low < value < high
        row = metric_rows(found)[-1]
        assert (row.title, row.model) == ("top-2 accuracy", f"{100 * value:.1f}%")
        assert row.interval == f"{100 * low:.1f}%–{100 * high:.1f}%"
        assert row.baseline.endswith("%")
    assert "top_2_accuracy" not in summary(predictions)
    assert len(metric_rows(found)) == len(METRICS)


def test_a_result_from_before_a_metric_was_added_shows_a_dash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = evaluation_result(drawn_predictions(60, 1))
    monkeypatch.setitem(METRICS, "top_2_accuracy", TOP_2)
    row = metric_rows(found)[-1]
    assert (row.model, row.interval, row.baseline) == ("–", "", "–")


def test_losses_have_neither_interval_nor_baseline_in_tables() -> None:
    rows = {row.title: row for row in metric_rows(evaluation_result(drawn_predictions(60, 1)))}
    loss = rows["binary cross-entropy"]
    assert (loss.interval, loss.baseline) == ("", "")
    assert float(loss.model) > 0
