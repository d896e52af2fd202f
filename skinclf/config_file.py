"""TOML file plus `--set` → one checked Config, and back."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from skinclf.config import Config
from skinclf.errors import ConfigError

SECRET = re.compile(r"(?i)secret|password|token|access[.]?key")
"""Spark's own default of spark.redaction.regex."""


def load_config(file: str | None, assignments: Sequence[str] = ()) -> Config:
    """Read a TOML file (None: defaults alone) and apply `section.key=value` assignments.

    Raises ConfigError with one line for each setting that is wrong, naming its key.
    """
    tree = _parse(_read(file), file) if file else {}
    for assignment in assignments:
        _assign(tree, assignment)
    return _validate(tree, " and ".join(filter(None, [file, "--set" if assignments else None])))


def parse_config(text: str, where: str) -> Config:
    """The settings in a TOML text that came from `where`. Raises ConfigError."""
    return _validate(_parse(text, where), where)


def shipped_config(name: str) -> str:
    """The path of one of our conf/ files: in the wheel beside the code, else in the checkout."""
    package = Path(__file__).parent
    places = (package / "conf" / name, package.parent / "conf" / name)
    return str(next(place for place in places if place.exists()))


def to_toml(config: Config) -> str:
    """The resolved settings as TOML that `load_config` reads back; secrets are left out."""
    tree = config.model_dump(mode="json")
    conf = tree["spark"]["conf"]
    tree["spark"]["conf"] = {key: conf[key] for key in conf if not SECRET.search(key)}
    tree["mlflow"]["tracking_uri"] = re.sub("//[^/@]*@", "//", config.mlflow.tracking_uri)
    return tomli_w.dumps(tree)


def _read(file: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file}: can't be read ({error}). "
            f"--config expects a TOML file such as conf/default.toml"
        ) from None


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from None


def _validate(tree: dict[str, Any], where: str) -> Config:
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from None


def _assign(tree: dict[str, Any], assignment: str) -> None:
    """Put `section.key=value` into `tree`; a value that is not TOML is taken as text."""
    name, equals, value = assignment.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise ConfigError(
            f"--set {assignment}: expected section.key=value, such as --set train.epochs=25"
        )
    place = tree.setdefault(section, {})
    group, dot, inner = key.partition(".")
    if dot:  # spark.conf.NAME=VALUE, where NAME has dots of its own, or train.augment.flip=true
        place, key = place.setdefault(group, {}), inner
    if (section, group) == ("spark", "conf"):
        place[key] = value
        return
    try:
        place[key] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        place[key] = value


def _explain(detail: Any) -> str:
    """One of pydantic's errors as `section.key: what happened, what to do`."""
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"{key}: there is no such setting; {advice}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    got = "" if isinstance(detail["input"], dict | BaseModel) else f", got {detail['input']!r}"
    return f"{key}: {message}{got}"


def _known_keys(section: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for name in section:
        model = type(model.model_fields[name].default)
    return list(model.model_fields)
