"""Pages of the documentation that are made from the code: a hook of MkDocs.

Settings come from the schema and conf/default.toml, commands from their help, tables and reject
reasons from their declarations. CONTRIBUTING.md and CHANGELOG.md get a page each.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
import typer
from mkdocs.structure.files import File
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from skinclf.cli.commands import app
from skinclf.config.remarks import read_remarks
from skinclf.config.schema import Config
from skinclf.reporting.pages import in_markdown
from skinclf.spec.rejects import REASONS
from skinclf.spec.tables import MEANINGS, REJECTS, TENSORS, predictions_schema, scores_schema
from skinclf.spec.taxonomy import HAM10000, probability_column

ROOT = Path(__file__).resolve().parents[1]
DEFAULTS = ROOT / "conf" / "default.toml"

OUTSIDE = r"\[([^\]]+)\]\(((?:\.\./)+(?:tests|skinclf|bench|conf|deploy)/[^)]*)\)"
"""A link to a file that is not below docs/: its text and the file."""

TABLES = {
    "TENSORS": TENSORS,
    "REJECTS": REJECTS,
    "SCORES": scores_schema(HAM10000),
    "PREDICTIONS": predictions_schema(HAM10000),
}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that have no file in docs/."""
    pages = {
        "reference/settings.md": settings_page(),
        "reference/commands.md": commands_page(),
        "contributing.md": _in_docs((ROOT / "CONTRIBUTING.md").read_text()),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put tables in the place of `{{ table NAME }}` and `{{ reasons }}`, and unlink what is not
    below docs/. Raises ValueError for a table or a file that is not there.
    """
    for name, schema in TABLES.items():
        markdown = markdown.replace(f"{{{{ table {name} }}}}", table_of(schema))
    markdown = markdown.replace("{{ reasons }}", reasons_table())
    if "{{ table" in markdown:
        raise ValueError(f"{page.file.src_uri}: there is no such table")
    for path in re.findall(OUTSIDE, markdown):
        if not (ROOT / "docs" / page.file.src_uri).parent.joinpath(path[1]).resolve().exists():
            raise ValueError(f"{page.file.src_uri}: there is no {path[1]}")
    return re.sub(OUTSIDE, r"`\1`", markdown)


def settings_page() -> str:
    """Every setting with its type, its default and what conf/default.toml says of it."""
    remarks = read_remarks()
    parts = [
        "# Settings",
        "A config is a TOML file: `--config FILE`. It needs to hold only what you change. One "
        "setting by itself: `--set section.key=value`. Relative paths start in the folder in which "
        "the command runs; URIs (`s3://`, `gs://`, `hdfs://`) are opened by pyarrow.",
        "This page is made from the schema that checks your config, and from `conf/default.toml`.",
    ]
    for section, model, defaults in sections(Config, tomllib.loads(DEFAULTS.read_text())):
        parts += [f"## [{section}]", _sentence(remarks[section])]
        rows = [
            f"| `{key}` | {type_of(field)} | `{toml_of(defaults[key])}` "
            f"| {in_markdown(remarks[f'{section}.{key}'])} |"
            for key, field in model.model_fields.items()
            if key in defaults and not isinstance(defaults[key], dict)
        ]
        if rows:
            head = ["| setting | type | default | meaning |", "|---|---|---|---|"]
            parts.append("\n".join([*head, *rows]))
    return "\n\n".join(part for part in parts if part) + "\n"


def sections(
    model: type[BaseModel], defaults: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, type[BaseModel], dict[str, Any]]]:
    """Name, model and defaults of each table of a config, in the file's order."""
    for name, values in defaults.items():
        if isinstance(values, dict):
            field = model.model_fields[name].annotation
            inner = field if isinstance(field, type) and issubclass(field, BaseModel) else BaseModel
            yield f"{prefix}{name}", inner, values
            yield from sections(inner, values, f"{prefix}{name}.")


def type_of(field: FieldInfo) -> str:
    """A setting's type, in words."""
    return _type(field.annotation) + "".join(_bound(limit) for limit in field.metadata)


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin in (Literal, Union, UnionType):  # a union is one of literals
        values = [value for one in arguments for value in get_args(one) or (one,)]
        *most, last = (f"`{value}`" for value in values)
        return f"{', '.join(most)} or {last}" if most else last
    if hasattr(annotation, "__metadata__"):
        return _type(arguments[0])
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _bound(limit: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    known = ((sign, getattr(limit, name, None)) for name, sign in signs.items())
    return "".join(f", {sign} {value:,}" for sign, value in known if value is not None)


def toml_of(value: Any) -> str:
    """A value as TOML has it, shortened where it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def commands_page() -> str:
    """Every command with its help and its options."""
    group: Any = typer.main.get_command(app)
    parts = ["# Commands", "`skinclf NAME --help` prints the same.", options_table(group)]
    for name, command in commands_of(group):
        parts += [f"## skinclf {name}", re.sub(r"\n +", "\n", command.help or "")]
        parts.append(options_table(command))
    return "\n\n".join(parts) + "\n"


def commands_of(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each command of a group by its name, those of groups in it, too."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def options_table(command: Any) -> str:
    """The options of a command."""
    rows = []
    for option in command.params:
        names = ", ".join(option.opts) if option.param_type_name == "option" else ""
        words = [names, getattr(option, "metavar", None) or ""]
        usage = " ".join(filter(None, words)).replace("|", r"\|")
        rows.append(f"| `{usage}` | {getattr(option, 'help', None) or ''}{_default(option)} |")
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def _default(option: Any) -> str:
    """What holds without the option, as `--help` says it."""
    if option.required:
        return " Required."
    given = option.default
    shown = given is not None and not isinstance(given, bool) and not callable(given)
    return f" Default: `{given}`." if shown and given != [] else ""


def table_of(schema: pa.Schema) -> str:
    """The columns of a table."""
    rows = [f"| `{field.name}` | {field.type} | {_meaning(field.name)} |" for field in schema]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])


def _meaning(column: str) -> str:
    """What a column holds. Raises KeyError where nobody has said so."""
    of = {probability_column(code): HAM10000.name_of(code) for code in HAM10000.codes}
    return f"the probability of {of[column]}, 0 to 1" if column in of else MEANINGS[column]


def reasons_table() -> str:
    """The reasons of rejects."""
    rows = [f"| `{reason}` | {meaning} |" for reason, meaning in REASONS.items()]
    return "\n".join(["| reason | meaning |", "|---|---|", *rows])


def _sentence(text: str) -> str:
    shown = in_markdown(text)
    return f"{shown[:1].upper()}{shown[1:]}." if text else ""


def _in_docs(text: str) -> str:
    """Text of the repository's root as a page of docs/."""
    return re.sub(r"\]\(docs/", "](", text)
