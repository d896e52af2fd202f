"""What each step to conf/augmented.toml gained: bench/rank.jsonl → docs/results.md and a chart.

python -m bench.ablation
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

LOG, PAGE, CHART = Path("bench/rank.jsonl"), Path("docs/results.md"), Path("docs/images/steps.svg")
BEGIN, END = "<!-- written by bench.ablation -->\n", "<!-- end -->\n"

STEPS = {
    "base": "30 epochs, quarter turns, zoom 0.9–1.1",
    "matched": "zoomed and turned images are sharpened",
    "matched60": "60 epochs",
    "geometry": "any angle, zoom 0.75–1.3, aspect",
    "both": "colors",
    "both-shades": "shades of gray",
    "both-shades@epochs=100": "100 epochs",
    "both-shades@epochs=100 symmetries": "eight views instead of four",
}
"""Recipe of bench.rank, and its views unless they are VIEW → what it adds to the one before it."""

FOLDS = [f"fold{n}" for n in range(5)]
SOURCES = {"rosendahl": "#1f77b4", "vidir_modern": "#e69f00", "vidir_molemax": "#26a69a"}
VIEW = "flips"

Rows = dict[tuple[str, str], dict[str, float]]


def main() -> None:
    """Write both."""
    rows = read()
    with rc_context({"svg.hashsalt": "steps", "svg.fonttype": "none"}):  # the same file again
        chart(rows).savefig(CHART, metadata={"Date": None})
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(rows) + END + rest.partition(END)[2])


def read() -> Rows:
    """(recipe and views as in STEPS, group) → the metrics of seed 1."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in LOG.read_text().splitlines()]
    return {
        (row["recipe"] + more, row["group"]): row[view]
        for row in lines
        if row["seed"] == 1
        for more, view in (("", VIEW), (" symmetries", "symmetries"))
    }


def table(rows: Rows) -> str:
    """The steps in Markdown."""
    head = ["", "folds: log loss", "balanced", *(f"{source} left out" for source in SOURCES)]
    cells = [
        [
            title,
            f"{rows[recipe, 'folds']['categorical_crossentropy']:.3f}",
            *(f"{rows[recipe, group]['balanced_accuracy']:.3f}" for group in ("folds", *SOURCES)),
        ]
        for recipe, title in STEPS.items()
    ]
    lines = [head, ["---"] * len(head), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def chart(rows: Rows) -> Figure:
    """Balanced accuracy by step: each fold and all of them, and each source that was left out."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(STEPS))

    def values(group: str) -> list[float]:
        return [rows[recipe, group]["balanced_accuracy"] for recipe in STEPS]

    for fold in FOLDS:
        axes.plot(values(fold), places, "o", color="#44546a", alpha=0.3, markersize=4)
    axes.plot(values("folds"), places, "o-", color="#44546a", label="five folds (each: small dots)")
    for source, color in SOURCES.items():
        axes.plot(values(source), places, "o-", color=color, label=f"{source} left out")
    first, *others = STEPS.values()
    axes.set_yticks(places, [first, *(f"+ {title}" for title in others)])
    axes.invert_yaxis()
    axes.set_xlabel("balanced accuracy")
    axes.grid(axis="x", color="#ddd")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
