"""bench/results.json → docs/speed.md and its charts: no number of them is typed by hand."""

import json
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

RESULTS, PAGE = Path("bench/results.json"), Path("docs/speed.md")
CHARTS = Path("docs/images")

HEAD = """# Speed

<!-- Written by `make bench` from bench/results.json; edit bench/page.py instead. -->

`make bench` measures all of this. Each number is a median; brackets hold the lowest and the highest
of all rounds. CPU time is that of all processes of a command: driver, JVM and Python workers.
Contenders run in turns, and each ratio is of two runs side by side. The row "again" compares the
yardstick with itself: a difference smaller than its spread means nothing.

- **pool** reads, decodes and writes the same Parquet files by the same code in a process pool,
  without Spark; **floor** is decoding alone (prepare), or decoding and the network (score).
- **loop** is one process that decodes each image in full with Pillow and calls `model.predict` by
  batch. **spark** is Spark's documented way: `binaryFile`, decoding in a UDF, `predict_batch_udf`.
- **ray** (Ray Data) and **daft** hand paths to an actor on each core. It reads, decodes and scores
  by skinclf's own decoder and engine. `make bench PEERS=PYTHON` runs these two; PYTHON is an
  interpreter that has both.
- **start** is the wall time of a run over 1,000 images, in the comparison with other ways of 200.
  The cost per image does not contain it.
- These figures are of HAM10000's JPEGs, 600x450 pixels; a title names their mean size.
  `python -m bench --only score --source IMAGES.zip` measures a table with yours. Without `--source`
  images are drawn.
"""


def write_page() -> None:
    """Write the page and its charts from what was measured."""
    results = json.loads(RESULTS.read_text())
    for name, table in results["tables"].items():
        if "columns" not in table:
            with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):  # the same file again
                chart(table).savefig(chart_of(name), metadata={"Date": None})
    PAGE.write_text(page(results))


def chart_of(name: str) -> Path:
    """The file of a table's chart."""
    return CHARTS / f"speed-{name}.svg"


def chart(table: dict[str, Any]) -> Figure:
    """Bars of the medians, with the lowest and the highest."""
    column, label = ("cpu_ms", "CPU ms/image") if "yardstick" in table else ("seconds", "s")
    rows = {name: row[column] for name, row in table["rows"].items()}
    medians = [row["median"] for row in rows.values()]
    spans = [
        [row["median"] - row["least"] for row in rows.values()],
        [row["most"] - row["median"] for row in rows.values()],
    ]
    figure = Figure(figsize=(7, 0.6 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(rows), medians, xerr=spans, color="#26a69a", ecolor="#44546a")
    axes.bar_label(bars, [f"{median:.2f}" for median in medians], padding=8)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def page(results: dict[str, Any]) -> str:
    """The page as Markdown."""
    machine = results["machine"]
    packages = ", ".join(f"{k} {v}" for k, v in machine.items() if k not in ABOUT)
    about = f"Measured on {machine['cores']} cores of {machine['processor']}."
    tables = [_table(name, table) for name, table in results["tables"].items()]
    return "\n".join([HEAD, f"{about} Versions: {packages}.\n", *tables])


ABOUT = ("date", "processor", "cores")


def _table(name: str, table: dict[str, Any]) -> str:
    if "columns" in table:  # of text
        return _section(table, [], table["columns"][1:], table["rows"])
    about = [f"{table['rounds']} rounds"]
    if "yardstick" in table:
        about.insert(0, f"{table['images']:,} images per round")
        ratio = f"relative to {table['yardstick']}"
        head = ["CPU ms/image", ratio, "wall ms/image", "start, s"]
        names = ["cpu_ms", "ratio", "clock_ms", "start"]
    else:
        head, names = ["seconds", "CPU seconds"], ["seconds", "cpu_seconds"]
    cells = {
        name: [_spread(row[column]) for column in names] for name, row in table["rows"].items()
    }
    drawn = f"\n![{table['title']}](images/{chart_of(name).name})\n"
    return _section(table, about, head, cells) + drawn


def _section(
    table: dict[str, Any], about: list[str], head: list[str], rows: dict[str, list[str]]
) -> str:
    name = table["title"]
    title = f"## {name[:1].upper()}{name[1:]} ({', '.join([*about, table['date']])})"
    lines = [_line(["", *head]), _line(["---", *["---:"] * len(head)])]
    return "\n".join([title, "", *lines, *(_line([n, *cells]) for n, cells in rows.items()), ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(value: dict[str, float]) -> str:
    return f"{value['median']:.2f} ({value['least']:.2f}–{value['most']:.2f})"
