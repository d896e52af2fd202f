"""A result as an output of a notebook: HTML that needs nothing from elsewhere."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from skinclf.reporting.pages import render
from skinclf.storage.files import local_path


@dataclass(frozen=True)
class Table:
    """A small table; its first column is text, the others are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Output:
    """What a notebook shows of a result."""

    title: str
    tables: Sequence[Table] = ()
    pictures: Sequence[tuple[str, bytes]] = ()  # what each shows, and its PNG
    links: Sequence[str] = field(default=())  # paths of pages
    warning: str = ""


def html_of(output: Output) -> str:
    """The HTML of an output. Notebooks remove style sheets, so each element has its own style."""
    links = [(path, link_to(path)) for path in output.links]
    values = {"output": output, "links": links}
    return render("notebook.html.j2", values)


def link_to(path: str) -> str:
    """The link to a file from a notebook: relative to its folder, which alone its server shows.

    "" for a file that is elsewhere.
    """
    local = local_path(path)
    if local is None:
        return ""
    relative = os.path.relpath(local)
    return "" if relative.startswith(os.pardir) else quote(os.fsencode(relative))
