"""What a command says: progress and log lines to stderr, results to stdout."""

import json
import logging
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skinclf.system.text import printable

terminal = Console(stderr=True, soft_wrap=True)
"""Progress and log lines."""


class TerminalHandler(logging.Handler):
    """Log lines through rich, so that they are above a progress bar and not inside it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        say(self.format(record))


def log_to_terminal() -> None:
    """Show what skinclf logs; more than once is once."""
    logger = logging.getLogger("skinclf")
    if not logger.handlers:
        handler = TerminalHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def say(text: str, style: str | None = None) -> None:
    """Print a message; names in it may not steer the terminal."""
    terminal.print(printable(text, keep="\n"), style=style, markup=False, highlight=False)


def print_json(result: object) -> None:
    """A result on stdout, for programs."""
    print(json.dumps(result, indent=1, ensure_ascii=False))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: bool = True
) -> None:
    """A table on stdout; `right`: all columns but the first hold numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if right and number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(str(cell))) for cell in row))
    Console().print(table)
