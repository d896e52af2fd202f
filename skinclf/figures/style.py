"""What all figures have in common."""

from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#3b6ea5", "#d9822b", "#6b7280"


def calm(axes: Axes) -> None:
    """Take away the frame that carries nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontweight("bold")
