"""What all figures have in common."""

from matplotlib.axes import Axes

from skinclf.system.text import printable

LONGEST = 50
"""Characters of a name in a figure."""

BLUE, ORANGE, GRAY = "#3b6ea5", "#d9822b", "#6b7280"


def literal(text: str) -> str:
    """A name from outside as matplotlib shows it: between two $ it would read mathematics, and a
    long one would leave no room for the axes.
    """
    text = printable(text)
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return shown.replace("$", r"\$")


def calm(axes: Axes) -> None:
    """Take away the frame that carries nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontweight("bold")
