"""Counts, histories and matrices → matplotlib figures. Nothing here reads or writes files."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from skinclf.labels import CODES

BLUE, ORANGE, GREY = "#3b6ea5", "#d9822b", "#6b7280"


def bar_figure(title: str, counts: Mapping[str, int], axis: str) -> Figure:
    """Horizontal bars with their numbers, in the order given."""
    figure = Figure(figsize=(6.4, 1.2 + 0.32 * max(len(counts), 3)), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="images", ylabel=axis)
    bars = axes.barh(list(counts), list(counts.values()), color=BLUE)
    axes.bar_label(bars, [f"{n:,}" for n in counts.values()], padding=3, color=GREY)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    _calm(axes)
    return figure


def histogram_figure(
    title: str, starts: Sequence[float], counts: Sequence[int], width: float, axis: str
) -> Figure:
    """A histogram from ready counts: bin k begins at starts[k] and is `width` wide."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=axis, ylabel="images")
    axes.bar(starts, counts, width=width * 0.92, align="edge", color=BLUE)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _calm(axes)
    return figure


def samples_figure(title: str, samples: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """One image a class in a row; `samples` maps captions to (75, 100, 3) uint8."""
    figure = Figure(figsize=(1.7 * max(len(samples), 1), 1.9), layout="constrained")
    figure.suptitle(title)
    for place, (caption, pixels) in enumerate(samples.items(), start=1):
        axes = figure.add_subplot(1, len(samples), place, title=caption)
        axes.imshow(pixels)
        axes.set_axis_off()
    return figure


def history_figure(history: Sequence[Mapping[str, float]], metric: str, title: str) -> Figure:
    """A metric by epoch, on the training and the validation split."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="epoch", ylabel=metric.replace("_", " "))
    for key, label, color in (
        (metric, "training", BLUE),
        (f"val_{metric}", "validation", ORANGE),
    ):
        points = [(row["epoch"], row[key]) for row in history if key in row]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                marker="o",
                markersize=3,
                color=color,
                label=label,
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    _calm(axes)
    return figure


def confusion_figure(confusion: NDArray[np.int64], title: str) -> Figure:
    """A (7, 7) confusion matrix: counts, coloured by the share of the true class."""
    figure = Figure(figsize=(5.6, 5.0), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="predicted", ylabel="true")
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(CODES))
    axes.set_xticks(places, CODES)
    axes.set_yticks(places, CODES)
    for (row, column), count in np.ndenumerate(confusion):
        dark = shares[row, column] > 0.5
        color = "white" if dark else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=9)
    return figure


def _calm(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontweight("bold")
