"""An evaluation's whole-set metrics as the rows of tables: on the page, the card, the terminal."""

from collections.abc import Callable
from dataclasses import dataclass

from skinclf.evaluation.metrics import METRICS
from skinclf.evaluation.result import EvaluationResult, Interval
from skinclf.spec.taxonomy import Taxonomy

INTERVAL = "95% CI"


@dataclass(frozen=True)
class MetricRow:
    """One metric as text; "" where it has no interval or is not compared."""

    title: str
    model: str
    interval: str
    baseline: str


def metric_rows(result: EvaluationResult) -> list[MetricRow]:
    """A row for each entry of METRICS, "–" where the result was made before the entry was."""
    return [
        MetricRow(
            metric.title,
            metric.show(result.model.get(name)),
            _limits(result.intervals.get(name), metric.show),
            metric.show(result.baseline.get(name)) if metric.has_baseline else "",
        )
        for name, metric in METRICS.items()
    ]


def baseline_title(taxonomy: Taxonomy) -> str:
    """The head of the baseline's column, such as "always nv (majority class)"."""
    return f"always {taxonomy.majority} (majority class)"


def _limits(interval: Interval | None, show: Callable[[float], str]) -> str:
    low, high = interval or (None, None)
    return "" if low is None or high is None else f"{show(low)}–{show(high)}"
