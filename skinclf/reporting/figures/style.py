"""What all figures have in common."""

from matplotlib.axes import Axes

from skinclf.system.text import printable

BLUE, ORANGE, GRAY = "#3b6ea5", "#d9822b", "#6b7280"


def literal(text: str) -> str:
    """A name from outside as matplotlib shows it: between two $ it would read mathematics."""
    return printable(text).replace("$", r"\$")


def calm(axes: Axes) -> None:
    """Take away the frame that carries nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontweight("bold")
