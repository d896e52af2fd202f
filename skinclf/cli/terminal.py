"""What a command says: progress and log lines to stderr, results to stdout.

Lines for people, or JSON for log collectors: `logged_as_json`.
"""

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from skinclf.system.progress_lines import PROGRESS
from skinclf.system.standard_streams import standard_stream
from skinclf.system.text import printable

if TYPE_CHECKING:
    from skinclf.cli.json_log import JsonLog
    from skinclf.config.schema import Config


terminal = Console(file=standard_stream("stderr"), soft_wrap=True)
"""Progress and log lines."""

VARIABLE = "SKINCLF_LOG_FORMAT"
"""The environment variable that stands for --log-format. Spark's JVM asks for it, too:
spark/log4j2.properties."""

FORMATS = ("text", "json")

FILE_WIDTH = 120
"""The widest table, in characters, that is easy to read in a log."""

NOWHERE = Console(quiet=True, force_terminal=False)

_json: "JsonLog | None" = None


class TerminalHandler(logging.Handler):
    """Log lines through rich, so that they are above a progress bar and not inside it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        say(self.format(record))


def log_to_terminal() -> None:
    """Show what skinclf logs; more than once is once."""
    logger = logging.getLogger("skinclf")
    if not logger.handlers and _json is None:
        handler = TerminalHandler()
        handler.addFilter(lambda record: record.name != PROGRESS)  # the console has it already
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def wants_json(arguments: list[str]) -> bool:
    """Whether a command line, or the environment, asks for JSON.

    Asked before the command line is parsed: what is wrong with it is to be JSON, too.
    """
    option = "--log-format"
    for number, word in enumerate(arguments):
        if word == option:
            return arguments[number + 1 : number + 2] == ["json"]
        if word.startswith(f"{option}="):
            return word == f"{option}=json"
    return os.environ.get(VARIABLE) == "json"


@contextmanager
def logged_as_json(stage: str) -> Iterator[None]:
    """Say everything as JSON in the block inside. Its library is imported only then."""
    global _json
    from skinclf.cli.json_log import json_logging

    with json_logging(stage) as _json:
        try:
            yield
        finally:
            _json = None


def progress_console() -> Console:
    """Where stages show their progress. In JSON it is logged, and not shown."""
    return NOWHERE if _json else terminal


def tell_begin(config: "Config") -> None:
    """Tell a log that the stage begins; a person sees that."""
    if _json:
        _json.begin(config)


def tell_end(status: int) -> None:
    """Tell a log how the stage ended; a shell knows that."""
    if _json:
        _json.end(status)


def tell_interruption(text: str) -> None:
    """Say that a person or a scheduler ended the command."""
    if _json:
        _json.write(logging.WARNING, text)
    else:
        say(text, "bold")


def tell_error(text: str, error: BaseException | None = None) -> None:
    """Say why a command ends; `error`: in JSON with where it came from."""
    if _json:
        trace = (type(error), error, error.__traceback__) if error else None
        _json.write(logging.ERROR, text, exc_info=trace)
    else:
        say(f"error: {text}", "bold red")


def say(text: str, style: str | None = None) -> None:
    """Print a message; names in it may not steer the terminal."""
    terminal.print(printable(text, keep="\n"), style=style, markup=False, highlight=False)


def print_json(result: object) -> None:
    """A result on stdout, for programs: one line where each line of the log is JSON, too, since
    spark-submit sends both to the same place.
    """
    print(json.dumps(result, indent=None if _json else 1))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: bool = True
) -> None:
    """A table on stdout; `right`: all columns but the first hold numbers.

    A table that is too wide is turned: each column becomes a row, if there are more columns than
    rows. In a file, lines are never broken.
    """
    console, cells = Console(), [list(map(str, row)) for row in rows]
    table = _table(title, columns, cells, right=right)
    room = console.width if console.is_terminal else FILE_WIDTH
    if _width(console, table) > room and len(columns) > len(cells) + 1:
        head, *others = zip(columns, *cells, strict=True)
        table = _table(title, head, others, right=right)
    if not console.is_terminal:
        console = Console(width=max(_width(console, table), 1))
    console.print(table)


def _width(console: Console, table: Table) -> int:
    """How wide a table is where nothing limits it."""
    return console.measure(table, options=console.options.update(max_width=sys.maxsize)).maximum


def _table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: bool
) -> Table:
    table = Table(title=_literal(title), title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        justify: JustifyMethod = "right" if right and number else "left"
        table.add_column(_literal(column), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*map(_literal, row))
    return table


def _literal(text: str) -> str:
    """Text from outside as it is: neither markup of rich nor what would steer the terminal."""
    return escape(printable(text))
