"""A cross-validation → one self-contained page, and the same in short as README.md."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from skinclf import __version__
from skinclf.evaluation.metrics import METRICS
from skinclf.evaluation.result import COMPARED, CrossValidation, Interval, Value
from skinclf.evaluation.sources import LEAST_IMAGES
from skinclf.reporting.evaluation import figures_of_sources
from skinclf.reporting.figures.clinical import confusion_figure, forest_figure, reliability_figure
from skinclf.reporting.figures.comparison import Estimate, estimates_figure
from skinclf.reporting.pages import png, render
from skinclf.reporting.tables import INTERVAL, baseline_title, limits, metric_rows
from skinclf.storage.cross_validation_folder import CrossValidationFolder
from skinclf.storage.files import write_text

COLUMNS = ("", "images", "lesions", "trained on", *(METRICS[name].title for name in COMPARED))
"""The heads of `fold_rows`."""


def fold_rows(found: CrossValidation) -> list[tuple[str, ...]]:
    """Under COLUMNS: each fold or source, and all together."""
    rows = [
        (
            fold.title,
            f"{fold.metrics.images:,}",
            f"{fold.metrics.lesions:,}",
            f"{fold.trained_on:,}",
            *(
                _cell(name, getattr(fold.metrics, name), fold.metrics.intervals)
                for name in COMPARED
            ),
        )
        for fold in found.folds
    ]
    pooled = found.pooled
    return [
        *rows,
        (
            "all together",
            f"{pooled.images:,}",
            f"{pooled.lesions:,}",
            "",
            *(_cell(name, pooled.model[name], pooled.intervals) for name in COMPARED),
        ),
    ]


def write_pages(found: CrossValidation, folder: CrossValidationFolder) -> None:
    """Draw and write the page and README.md."""
    taxonomy = found.pooled.taxonomy
    values: dict[str, Any] = {
        "title": f"Cross-validation by {found.by}",
        "version": __version__,
        "found": found,
        "result": found.pooled,
        "taxonomy": taxonomy,
        "metrics": metric_rows(found.pooled),
        "interval_title": INTERVAL,
        "baseline_title": baseline_title(taxonomy),
        "columns": COLUMNS,
        "rows": fold_rows(found),
        "least_images": LEAST_IMAGES,
        "fall": _fall(found),
        "compared": {name: METRICS[name].title for name in COMPARED},
    }
    figures = {name: png(figure) for name, figure in _figures(found).items()}
    page = render("cross_validation.html.j2", values | {"figures": figures})
    write_text(folder.page, page)
    write_text(folder.card, render("cross_validation.md.j2", values))


def _fall(found: CrossValidation) -> str:
    """By how much balanced accuracy is lower on sources that were not trained on, in words; ""
    where that is not known.
    """
    fall = found.fall
    if found.by != "source" or fall is None:
        return ""
    return f"{100 * abs(fall):.1f} percentage points {'lower' if fall > 0 else 'higher'}"


def folds_figure(found: CrossValidation) -> Figure:
    """The metrics of each fold, and of all together, with their intervals."""
    pooled = found.pooled
    titles = [*(fold.title for fold in found.folds), "all together"]
    estimates = {
        METRICS[name].title: [
            *(
                Estimate.of_share(getattr(f.metrics, name), f.metrics.intervals[name])
                for f in found.folds
            ),
            Estimate.of_share(pooled.model[name], pooled.intervals[name]),
        ]
        for name in COMPARED
    }
    return estimates_figure(f"By {found.by}, with {INTERVAL}", "percent", titles, estimates)


def _figures(found: CrossValidation) -> dict[str, Figure]:
    pooled = found.pooled
    classes = [(f"{code} ({row.images})", row) for code, row in pooled.classes.items()]
    codes = pooled.taxonomy.codes
    return {
        "folds": folds_figure(found),
        "confusion": confusion_figure(np.array(pooled.confusion), codes, "Confusion"),
        "sensitivity": forest_figure("Sensitivity by class", classes, "sensitivity"),
        "reliability": reliability_figure(pooled.calibration),
        **figures_of_sources(pooled),
    }


def _cell(name: str, value: Value, intervals: dict[str, Interval]) -> str:
    show: Callable[[Value], str] = METRICS[name].show
    interval = limits(intervals.get(name), show)
    return f"{show(value)} ({interval})" if interval else show(value)
