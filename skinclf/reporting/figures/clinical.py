"""How good a model is, as a doctor or a researcher looks at it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from skinclf.evaluation.coverage import coverage_curve
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import (
    Calibration,
    ClassMetrics,
    ReliabilityBin,
    SubgroupMetrics,
)
from skinclf.reporting.figures.style import BLUE, GRAY, ORANGE, calm, largest, literal, of_all

LINES = ("-", "--", "-.", ":")
"""The next one for every ten classes: tab10 has ten colors."""

NUMBERED = 30
"""Classes of a confusion matrix whose cells have their numbers in them."""

MOST_CURVES = 20
"""Of one figure: more of them lie on each other."""


DARK = 0.7
"""The share above which white is read better than black on the color of a cell."""


def confusion_figure(confusion: NDArray[np.int64], codes: Sequence[str], title: str) -> Figure:
    """A (classes, classes) confusion matrix: counts, colored by the share of the true class.

    Of more than NUMBERED classes the colors alone, and the names of some.
    """
    numbered = len(codes) <= NUMBERED
    side = max(5.0, 0.6 * min(len(codes), NUMBERED) + 0.8)  # inches
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="predicted", ylabel="true")
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.title.set_fontweight("bold")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(0, len(codes), -(-len(codes) // (2 * NUMBERED)))
    names = [literal(codes[place]) for place in places]
    long = max(map(len, names)) > 6 or not numbered
    axes.set_xticks(places, names, rotation=90 if long else 0)
    axes.set_yticks(places, names)
    for (row, column), count in np.ndenumerate(confusion) if numbered else ():
        dark = shares[row, column] > DARK
        color = "white" if dark else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=9)
    return figure


def roc_figure(predictions: Predictions) -> Figure:
    """Receiver operating characteristic of each class against the rest."""
    labels, count = _classes(predictions)
    title = of_all("ROC", len(labels), count)
    figure, axes = _with_diagonal(title, "1 - specificity", "sensitivity")
    for label in labels:
        truth, probabilities = predictions.labels == label, predictions.probabilities[:, label]
        false_positives, found, _ = roc_curve(truth, probabilities)
        axes.plot(false_positives, found, **_line(label, predictions))
    axes.legend(frameon=False, loc="lower right")
    calm(axes)
    return figure


def precision_recall_figure(predictions: Predictions) -> Figure:
    """Precision (PPV) by recall (sensitivity) of each class against the rest."""
    labels, count = _classes(predictions)
    figure = Figure(figsize=(5.0, 4.6), layout="constrained")
    axes = figure.add_subplot(
        title=of_all("Precision and recall", len(labels), count),
        xlabel="recall (sensitivity)",
        ylabel="precision (PPV)",
        aspect="equal",
        xlim=(0, 1.02),
        ylim=(0, 1.02),
    )
    for label in labels:
        truth, probabilities = predictions.labels == label, predictions.probabilities[:, label]
        precision, recall, _ = precision_recall_curve(truth, probabilities)
        axes.plot(recall, precision, **_line(label, predictions))
    axes.legend(frameon=False, loc="lower left")
    calm(axes)
    return figure


def reliability_figure(calibration: Calibration) -> Figure:
    """Accuracy by confidence, before and after temperature scaling; size shows images."""
    figure, axes = _with_diagonal("Reliability", "confidence", "accuracy")
    for metrics, title, color in (
        (calibration.as_it_is, "as it is", BLUE),
        (calibration.scaled, f"temperature {calibration.temperature:.2f}", ORANGE),
    ):
        rows = metrics.reliability
        x, y = [row.confidence for row in rows], [row.accuracy for row in rows]
        images = np.array([row.images for row in rows])
        axes.plot(x, y, color=color, linewidth=1, label=title)
        axes.scatter(x, y, 10 + 150 * images / images.sum(), color=color)
    axes.legend(frameon=False, loc="upper left")
    calm(axes)
    return figure


def parts_reliability_figure(parts: Mapping[str, Sequence[ReliabilityBin]]) -> Figure:
    """Accuracy by confidence in each part of the images: name → bins; size shows images."""
    figure, axes = _with_diagonal("Reliability by source", "confidence", "accuracy")
    for place, rows in enumerate(parts.values()):
        color = colormaps["tab10"](place % 10)
        x, y = [row.confidence for row in rows], [row.accuracy for row in rows]
        images = np.array([row.images for row in rows])
        axes.plot(x, y, color=color, linewidth=1, label=str(place))
        axes.scatter(x, y, 10 + 150 * images / images.sum(), color=color)
    legend = axes.legend(frameon=False, loc="upper left", fontsize=9)
    for text, name in zip(legend.get_texts(), parts, strict=True):
        text.set_text(literal(name))  # given above, names that begin with _ would be left out
    calm(axes)
    return figure


def coverage_figure(predictions: Predictions) -> Figure:
    """Accuracy on the images that are kept, by their share."""
    figure = Figure(figsize=(5.0, 4.6), layout="constrained")
    axes = figure.add_subplot(
        title="Least confident images left to a person",
        xlabel="share of images kept, the most confident first",
        ylabel="accuracy on these",
    )
    axes.plot(*coverage_curve(predictions), color=BLUE)
    calm(axes)
    return figure


def forest_figure(
    title: str, rows: Sequence[tuple[str, ClassMetrics | SubgroupMetrics]], name: str
) -> Figure:
    """The metric `name` with its interval in each row: (caption, metrics)."""
    shown = largest(rows, [metrics.images for _, metrics in rows])
    title, rows = of_all(title, len(shown), len(rows)), shown
    figure = Figure(figsize=(6.4, 1.0 + 0.26 * len(rows)), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=name.replace("_", " "), xlim=(0, 1.02))
    for place, (_, metrics) in enumerate(rows):
        value = getattr(metrics, name)
        if value is None:
            continue
        low, high = metrics.intervals[name]
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=BLUE, linewidth=1.5)
        axes.plot(value, place, "o", color=BLUE, markersize=5)
    axes.set_yticks(range(len(rows)), [literal(caption) for caption, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="#e5e7eb")
    axes.set_axisbelow(True)
    calm(axes)
    return figure


def _with_diagonal(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """A square of 0 to 1 with the line on which both are alike."""
    figure = Figure(figsize=(5.0, 4.6), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=x, ylabel=y, aspect="equal")
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle=":")
    return figure, axes


def _classes(predictions: Predictions) -> tuple[list[int], int]:
    """The largest classes of those that occur beside others, and how many these are."""
    labels, images = np.unique(predictions.labels, return_counts=True)
    beside_others = labels.tolist() if len(labels) > 1 else []
    return largest(beside_others, images.tolist(), MOST_CURVES), len(beside_others)


def _line(label: int, predictions: Predictions) -> dict[str, Any]:
    """The same color and style for a class in every figure."""
    return {
        "label": literal(predictions.taxonomy.codes[label]),
        "color": colormaps["tab10"](label % 10),
        "linestyle": LINES[label // 10 % len(LINES)],
        "linewidth": 1.4,
    }
