"""bench/results.json → docs/speed.md: no figure of it is typed by hand."""

from typing import Any

HEAD = """# Speed

<!-- Written by `make bench` from bench/results.json; edit bench/page.py instead. -->

Each figure is a median, with the least and the most of all rounds. CPU time is that of all
processes of a command: driver, JVM and Python workers. Contenders run in turns, and each ratio is
of two runs side by side. The row "again" is the yardstick against itself: a difference that is
smaller than its spread says nothing.
"""


def page(results: dict[str, Any]) -> str:
    """The page as Markdown."""
    machine = results["machine"]
    packages = ", ".join(f"{k} {v}" for k, v in machine.items() if k not in ABOUT)
    about = f"Measured on {machine['date']}: {machine['cores']} cores of {machine['processor']}."
    parts = [HEAD, f"{about} Versions: {packages}.\n", *map(_table, results["tables"])]
    return "\n".join(parts)


ABOUT = ("date", "processor", "cores")


def _table(table: dict[str, Any]) -> str:
    if "columns" in table:
        lines = [f"## {table['title'].capitalize()}", "", _line(["", *table["columns"][1:]])]
        lines.append(_line(["---", *["---:"] * (len(table["columns"]) - 1)]))
        return "\n".join([*lines, *(_line([n, *row]) for n, row in table["rows"].items()), ""])
    if "yardstick" not in table:
        head = ["command", "seconds", "CPU seconds"]
        columns = ["seconds", "cpu_seconds"]
        title = f"## {table['title'].capitalize()} ({table['rounds']} rounds)"
    else:
        yardstick = table["yardstick"]
        head = ["", "CPU ms an image", f"CPU against {yardstick}", "ms by the clock", "start, s"]
        columns = ["cpu_ms", "ratio", "clock_ms", "start"]
        rounds = f"{table['images']:,} images a round, {table['rounds']} rounds"
        title = f"## {table['title'].capitalize()} ({rounds})"
    lines = [title, "", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for name, row in table["rows"].items():
        lines.append(_line([name, *(_spread(row[column]) for column in columns)]))
    return "\n".join([*lines, ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(value: dict[str, float]) -> str:
    return f"{value['median']:.2f} ({value['least']:.2f}–{value['most']:.2f})"
