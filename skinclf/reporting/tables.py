"""An evaluation's whole-set metrics as the rows of tables: on the page, the card, the terminal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from skinclf.evaluation.comparison import Difference
from skinclf.evaluation.metrics import METRICS, Metric
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

    @property
    def cell(self) -> str:
        """The metric with its interval in brackets."""
        return f"{self.model} ({self.interval})" if self.interval else self.model


@dataclass(frozen=True)
class DifferenceRow:
    """The difference of one metric to another run's, as text."""

    title: str
    difference: str
    interval: str
    excludes_zero: bool
    """Whether the interval does not hold 0."""

    @property
    def cell(self) -> str:
        """The difference with its interval in brackets."""
        return f"{self.difference} ({self.interval})" if self.interval else self.difference


def metric_rows(result: EvaluationResult) -> list[MetricRow]:
    """A row for each entry of METRICS, "–" where the result was made before the entry was."""
    return [
        MetricRow(
            metric.title,
            metric.show(result.model.get(name)),
            limits(result.intervals.get(name), metric.show),
            metric.show(result.baseline.get(name)) if metric.has_baseline else "",
        )
        for name, metric in METRICS.items()
    ]


def difference_rows(differences: Mapping[str, Difference]) -> list[DifferenceRow]:
    """A row for each entry of METRICS."""
    return [_difference_row(metric, differences[name]) for name, metric in METRICS.items()]


def _difference_row(metric: Metric, difference: Difference) -> DifferenceRow:
    low, high = difference.interval or (None, None)
    return DifferenceRow(
        metric.title,
        metric.show_difference(difference.value),
        limits(difference.interval, metric.show_difference, " to ").replace(" pp to", " to"),
        low is not None and high is not None and not low <= 0 <= high,
    )


def by_metric(
    runs: Sequence[tuple[str, Sequence[MetricRow | DifferenceRow]]],
) -> list[tuple[str, ...]]:
    """Name and rows of each run → a row for each metric: its title, and the cell of each run."""
    return [
        (metric[0].title, *(row.cell for row in metric))
        for metric in zip(*(rows for _, rows in runs), strict=True)
    ]


def baseline_title(taxonomy: Taxonomy) -> str:
    """The head of the baseline's column, such as "always nv (majority class)"."""
    return f"always {taxonomy.majority} (majority class)"


def limits(interval: Interval | None, show: Callable[[float], str], to: str = "–") -> str:
    """An interval as text; "" where there is none."""
    low, high = interval or (None, None)
    return "" if low is None or high is None else f"{show(low)}{to}{show(high)}"
