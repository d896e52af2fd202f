"""What a dataset holds."""

from collections.abc import Mapping, Sequence
from itertools import islice
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from skinclf.reporting.figures.style import BLUE, GRAY, calm, largest, literal, of_all

MOST_SAMPLES = 30
"""Pictures in a row."""

LONG_CAPTION = 17
"""Characters: what is longer goes on in the next line."""


def bar_figure(title: str, counts: Mapping[str, int], axis: str) -> Figure:
    """Horizontal bars with their numbers, in the order given; of many, the largest."""
    shown = dict(largest(list(counts.items()), list(counts.values())))
    title, counts = of_all(title, len(shown), len(counts)), shown
    figure = Figure(figsize=(6.4, 1.2 + 0.32 * max(len(counts), 3)), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="images", ylabel=axis)
    places = range(len(counts))  # and not the names: two that are cut to the same would be one
    bars = axes.barh(places, list(counts.values()), color=BLUE)
    axes.set_yticks(places, list(map(literal, counts)))
    axes.bar_label(bars, [f"{n:,}" for n in counts.values()], padding=3, color=GRAY)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    calm(axes)
    return figure


def histogram_figure(
    title: str, starts: Sequence[float], counts: Sequence[int], width: float, axis: str
) -> Figure:
    """A histogram from ready counts: bin k begins at starts[k] and is `width` wide."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=axis, ylabel="images")
    if not any(counts):
        figure.clear()
        figure.set_size_inches(6.4, 1.2)
        figure.suptitle(title, fontweight="bold")
        figure.text(0.5, 0.5, "not known of any image", ha="center", color=GRAY)
        return figure
    axes.bar(starts, counts, width=width * 0.92, align="edge", color=BLUE)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    calm(axes)
    return figure


def samples_figure(title: str, samples: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """One image a class in a row, of the first MOST_SAMPLES classes; `samples` maps captions to
    (height, width, 3) uint8.
    """
    samples = dict(islice(samples.items(), MOST_SAMPLES))
    long = max(map(len, samples), default=0) > LONG_CAPTION
    size = (1.7 * max(len(samples), 2), 2.3 if long else 1.9)  # inches
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    for place, (caption, pixels) in enumerate(samples.items(), start=1):
        axes = figure.add_subplot(1, len(samples), place)
        axes.set_title("\n".join(wrap(caption, LONG_CAPTION)), fontsize=9 if long else None)
        axes.imshow(pixels)
        axes.set_axis_off()
    return figure
