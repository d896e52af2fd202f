"""Several evaluated runs → one self-contained page, and the rows of its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from matplotlib.figure import Figure

from skinclf import __version__
from skinclf.evaluation.comparison import Difference
from skinclf.evaluation.metrics import METRICS
from skinclf.evaluation.result import EvaluationResult
from skinclf.reporting.figures.comparison import Estimate, differences_figure, estimates_figure
from skinclf.reporting.pages import png, render
from skinclf.reporting.tables import (
    INTERVAL,
    DifferenceRow,
    MetricRow,
    difference_rows,
    metric_rows,
)
from skinclf.storage.files import write_text

MISSING = "–"


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs that are compared."""

    name: str
    path: str
    settings: Mapping[str, str]
    """What decides how good it is, by dotted key."""

    result: EvaluationResult
    shared: int
    """How many of its images the first run was evaluated on, too."""

    differences: Mapping[str, Difference] | None = None
    """To the first run, by key of METRICS; None: of the first, or where images differ."""

    def summary(self) -> dict[str, Any]:
        """Its metrics and its differences to the first run, as plain values."""
        differences = {name: asdict(found) for name, found in (self.differences or {}).items()}
        return {
            "run": self.path,
            "metrics": dict(self.result.model),
            "intervals": dict(self.result.intervals),
            "differences": differences,
        }


@dataclass(frozen=True)
class Comparison:
    """Runs that were evaluated on a set of one name; the first is what others are compared with."""

    set: str
    runs: Sequence[ComparedRun]

    @property
    def first(self) -> ComparedRun:
        """The run that all others are compared with."""
        return self.runs[0]

    @property
    def paired(self) -> list[ComparedRun]:
        """The runs that are compared with the first image by image."""
        return [run for run in self.runs if run.differences is not None]

    @property
    def unpaired(self) -> list[ComparedRun]:
        """The other runs that were evaluated on other images than the first."""
        return [run for run in self.runs[1:] if run.differences is None]


def metrics_of_runs(comparison: Comparison) -> list[tuple[str, list[MetricRow]]]:
    """Name and metrics of each run."""
    return [(run.name, metric_rows(run.result)) for run in comparison.runs]


def differences_of_runs(comparison: Comparison) -> list[tuple[str, list[DifferenceRow]]]:
    """Name and differences to the first of each run that has them."""
    return [
        (run.name, difference_rows(run.differences))
        for run in comparison.runs
        if run.differences is not None
    ]


def differing_settings(settings: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """The keys whose values are not all the same, with the value of each; "–" for a missing one."""
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = [(key, [each.get(key, MISSING) for each in settings]) for key in keys]
    return [(key, values) for key, values in rows if len({*values}) > 1]


def shown_settings(values: Mapping[str, Any]) -> dict[str, str]:
    """Settings as a config file has them, without quotes."""
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in values.items()
    }


def write_comparison(comparison: Comparison, path: str) -> None:
    """Draw and write the page."""
    figures = {name: png(figure) for name, figure in _figures(comparison).items()}
    page = render(
        "comparison.html.j2",
        {
            "title": f"{len(comparison.runs)} runs compared on {comparison.set}",
            "version": __version__,
            "comparison": comparison,
            "titles": [metric.title for metric in METRICS.values()],
            "interval_title": INTERVAL,
            "metrics": metrics_of_runs(comparison),
            "differences": differences_of_runs(comparison),
            "settings": differing_settings([run.settings for run in comparison.runs]),
            "codes": comparison.first.result.taxonomy.codes,
            "taxonomy": comparison.first.result.taxonomy,
            "figures": figures,
        },
    )
    write_text(path, page)


def _figures(comparison: Comparison) -> dict[str, Figure]:
    shares = {name: metric.title for name, metric in METRICS.items() if metric.form == "percent"}
    codes = comparison.first.result.taxonomy.codes
    figures = {
        "metrics": estimates_figure(
            f"Metrics, with {INTERVAL}",
            "percent",
            list(shares.values()),
            {run.name: [_metric(run, name) for name in shares] for run in comparison.runs},
        ),
        "sensitivities": estimates_figure(
            f"Sensitivity by class, with {INTERVAL}",
            "percent",
            codes,
            {run.name: [_sensitivity(run, code) for code in codes] for run in comparison.runs},
        ),
    }
    if comparison.paired:
        figures["differences"] = differences_figure(
            f"Difference to {comparison.first.name}, with {INTERVAL}",
            list(shares.values()),
            {run.name: [_difference(run, name) for name in shares] for run in comparison.paired},
            [place for place, run in enumerate(comparison.runs) if run.differences is not None],
        )
    return figures


def _metric(run: ComparedRun, name: str) -> Estimate:
    return Estimate.of_share(run.result.model.get(name), run.result.intervals.get(name))


def _sensitivity(run: ComparedRun, code: str) -> Estimate:
    metrics = run.result.classes[code]
    return Estimate.of_share(metrics.sensitivity, metrics.intervals.get("sensitivity"))


def _difference(run: ComparedRun, name: str) -> Estimate:
    found = (run.differences or {})[name]
    return Estimate.of_share(found.value, found.interval)
