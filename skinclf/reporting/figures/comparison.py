"""Several models beside each other."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinclf.evaluation.result import Interval, Value
from skinclf.reporting.figures.style import GRAY, calm, literal

MOST_LINES = 1_000
"""Of a figure, for all models: a picture has no more room."""


class Estimate(NamedTuple):
    """A metric with its interval, if there is one."""

    value: Value
    interval: Interval | None

    @classmethod
    def of_share(cls, value: Value, interval: Interval | None) -> "Estimate":
        """A share as percent."""
        low, high = (None if limit is None else 100 * limit for limit in interval or (None, None))
        return cls(None if value is None else 100 * value, (low, high))


def estimates_figure(
    title: str,
    axis: str,
    rows: Sequence[str],
    models: Mapping[str, Sequence[Estimate]],
    *,
    colors: Sequence[int] = (),
) -> Figure:
    """For each of `rows` the estimate of each model with its interval, one below the other.

    `models`: name → one estimate a row. `colors`: of each model; its place, where none are given.
    """
    title, room = literal(title), max(MOST_LINES // (len(models) + 1), 1)
    if len(rows) > room:
        title = f"{title}: the first {room} of {len(rows):,}"
        rows, models = rows[:room], {name: shown[:room] for name, shown in models.items()}
    lines = len(rows) * (len(models) + 1)
    figure = Figure(figsize=(6.4, 1.3 + 0.17 * lines + 0.2 * len(models)), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=axis)
    spread = min(0.1 * (len(models) - 1), 0.35)
    offsets = np.linspace(-spread, spread, len(models))
    handles = []
    for place, estimates in enumerate(models.values()):
        color = colormaps["tab10"]((colors[place] if colors else place) % 10)
        handles.append(Line2D([], [], color=color, marker="o", markersize=5))
        for row, (value, interval) in enumerate(estimates):
            low, high = interval or (None, None)
            if low is not None and high is not None:
                axes.plot([low, high], [row + offsets[place]] * 2, color=color, linewidth=1.6)
            if value is not None:
                axes.plot(value, row + offsets[place], "o", color=color, markersize=5)
    axes.set_yticks(range(len(rows)), [literal(row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="#e5e7eb")
    axes.set_axisbelow(True)
    calm(axes)
    places = [str(place) for place in range(len(models))]
    legend = figure.legend(handles, places, loc="outside lower left", frameon=False)
    for text, name in zip(legend.get_texts(), models, strict=True):
        text.set_text(literal(name))  # given above, names that begin with _ would be left out
    return figure


def differences_figure(
    title: str,
    rows: Sequence[str],
    models: Mapping[str, Sequence[Estimate]],
    colors: Sequence[int],
) -> Figure:
    """`estimates_figure` of differences to the first model, with a line where there is none."""
    figure = estimates_figure(title, "percentage points", rows, models, colors=colors)
    figure.axes[0].axvline(0, color=GRAY, linewidth=0.8, linestyle=":")
    return figure
