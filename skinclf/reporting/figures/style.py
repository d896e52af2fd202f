"""What all figures have in common."""

from collections.abc import Sequence
from typing import TypeVar

from matplotlib.axes import Axes

from skinclf.system.text import printable

LONGEST = 50
"""Characters of a name in a figure."""

Row = TypeVar("Row")

MOST_ROWS = 100
"""That a figure shows: of more, nobody finds one, and the picture takes gigabytes to draw."""

BLUE, ORANGE, GRAY = "#3b6ea5", "#d9822b", "#6b7280"


def literal(text: str) -> str:
    """A name from outside as matplotlib shows it: between two $ it would read mathematics, and a
    long one would leave no room for the axes.
    """
    text = printable(text)
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return shown.replace("$", r"\$")


def largest(rows: Sequence[Row], sizes: Sequence[int], most: int = MOST_ROWS) -> list[Row]:
    """At most `most` of the rows, in their order: the largest by `sizes`, of which each has one."""
    places = sorted(range(len(rows)), key=lambda place: -sizes[place])[:most]
    return [rows[place] for place in sorted(places)]


def of_all(title: str, shown: int, count: int) -> str:
    """A figure's title, which says so where it leaves out some of its rows."""
    return title if shown == count else f"{title}: the {shown} largest of {count:,}"


def calm(axes: Axes) -> None:
    """Take away the frame that carries nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontweight("bold")
