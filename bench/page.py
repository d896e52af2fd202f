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
    about = f"Measured on {machine['cores']} cores of {machine['processor']}."
    tables = results["tables"].values()
    parts = [HEAD, f"{about} Versions: {packages}.\n", *map(_table, tables)]
    return "\n".join(parts)


ABOUT = ("date", "processor", "cores")


def _table(table: dict[str, Any]) -> str:
    if "columns" in table:  # of text
        return _section(table, [], table["columns"][1:], table["rows"])
    about = [f"{table['rounds']} rounds"]
    if "yardstick" in table:
        about.insert(0, f"{table['images']:,} images a round")
        ratio = f"CPU against {table['yardstick']}"
        head = ["CPU ms an image", ratio, "ms by the clock", "start, s"]
        names = ["cpu_ms", "ratio", "clock_ms", "start"]
    else:
        head, names = ["seconds", "CPU seconds"], ["seconds", "cpu_seconds"]
    cells = {
        name: [_spread(row[column]) for column in names] for name, row in table["rows"].items()
    }
    return _section(table, about, head, cells)


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
