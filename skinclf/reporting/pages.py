"""Templates filled in: self-contained HTML pages (pictures inside, one style) and Markdown."""

import base64
import io
import re
from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal, localcontext
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pyarrow import fs

from skinclf.errors import UsageError
from skinclf.spec.decision import NEVER
from skinclf.storage.files import join, locate
from skinclf.system.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_page(path: str) -> None:
    """Raise UsageError for a path that is no file's, before the work for it is done."""
    if not path or path.endswith("/"):
        raise UsageError(f"--output: {path!r} names no file; expected is one such as page.html")
    file_system, inner = locate(path)
    if file_system.get_file_info(inner).type == fs.FileType.Directory:
        raise UsageError(
            f"--output: {path} is a folder; name a file, such as {join(path, 'page.html')}"
        )


def png(figure: "Figure") -> bytes:
    """A figure as the bytes of a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    figure.set_dpi(144)
    FigureCanvasAgg(figure).print_png(buffer)  # the same as savefig, which lays it all out twice
    return buffer.getvalue()


def data_uri(image: bytes, kind: str = "png") -> str:
    """The bytes of an image file (`kind`: png or jpeg) as a URI that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill in one of the templates; a value that it names and nobody gives is an error."""
    environment = Environment(
        loader=PackageLoader("skinclf.reporting"),
        autoescape=lambda name: name is None or ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_controls,
    )
    environment.filters["data_uri"] = data_uri
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}%"
    environment.filters["threshold"] = threshold
    environment.filters["weight"] = lambda value: f"{value:.3g}" if value > NEVER else "never"
    environment.filters["md"] = in_markdown
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment.get_template(template).render(values)


def threshold(value: float) -> str:
    """A threshold in four digits. Never above its value: it is the probability of an image, which
    would not reach it any more.
    """
    with localcontext(rounding=ROUND_FLOOR, prec=4):
        return f"{+Decimal(value):f}"


def in_markdown(text: str) -> str:
    """Text from outside for Markdown, where neither it nor HTML in it means anything."""
    return re.sub(r"([\\`*_|\[\]<>&])", r"\\\1", " ".join(text.split()))


def _without_controls(value: object) -> object:
    """What is filled in, its control characters shown: names of files and patients' data."""
    plain = isinstance(value, str) and not hasattr(value, "__html__")  # that is markup of ours
    return printable(str(value), keep="\n\t") if plain else value
