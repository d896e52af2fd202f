"""How training went."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skinclf.reporting.figures.style import BLUE, ORANGE, calm


def history_figures(history: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
    """Accuracy and loss by epoch, by name; none where no epoch was taken."""
    return {
        metric: history_figure(history, metric, f"{metric.capitalize()} by epoch")
        for metric in ("accuracy", "loss")
        if history
    }


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
    calm(axes)
    return figure
