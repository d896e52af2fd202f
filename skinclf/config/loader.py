"""TOML file plus `--set` → one checked Config, and back."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
from pydantic import BaseModel, ValidationError

from skinclf.config.renames import renamed, renamed_value, warn_of_name, with_new_names
from skinclf.config.schema import Config, dotted
from skinclf.errors import ConfigError, UsageError
from skinclf.system.uris import check_no_secret, without_password, without_secrets

SECRET = re.compile(
    r"(?i)secret|passw|pwd|token|credential$|connection[._]string|[.]sas[.]"
    r"|(access|account|private|storage|api|encryption|provided)[._-]?key"
)
"""Spark's own default of spark.redaction.regex, and what Azure's and Google's settings have."""

SPARK_CONF = "spark.conf."

WITH_DOTS = (SPARK_CONF, "evaluate.gates.", "metadata.labels.")
"""The sections whose names have dots of their own."""

QUOTED_KEY = re.compile(r"""[\w.\-\s]*("[^"]*"|'[^']*')[\w.\-\s]*=""")
"""A key of an assignment in which a name is in quotes, with its =."""


File = str | os.PathLike[str]
Files = File | Sequence[File]
"""A TOML file, or several: what a later one says replaces what an earlier one said."""


class Option(NamedTuple):
    """A command's own option, which stands for a setting."""

    name: str  # such as --limit
    key: str  # such as score.limit
    value: object


def load_config(
    files: Files | Config | None, assignments: Sequence[str] = (), options: Sequence[Option] = ()
) -> Config:
    """Read TOML files (None: defaults alone; a Config: that one) and apply `section.key=value`
    assignments, then options.

    Raises ConfigError with one line for each setting that is wrong, naming its key and where it
    was given.
    """
    tree, origins = _gathered(files, assignments, options, warn=True)
    where = "config" if isinstance(files, Config) else ", ".join(_names(files)) or "--set"
    return _validate(tree, where, origins)


def changed(config: Config, settings: Mapping[str, object]) -> Config:
    """The config with other `settings`, by `section.key`; checked as if it had been read so."""
    return load_config(config, options=settings_options(settings))


def settings_options(settings: Mapping[str, object]) -> list[Option]:
    """Settings of Python code, by `section.key`, as options of `load_config`.

    Values are TOML's kinds, tuples or paths. Raises ConfigError where a name has no section.
    """
    options = []
    for name, value in settings.items():
        section, dot, key = str(name).partition(".")
        if not (section and dot and key):
            raise ConfigError(
                f'settings: {name!r} is no setting; expected is {{"section.key": value}}, such as '
                f'{{"train.epochs": 25}}'
            )
        options.append(Option(f'settings["{name}"]', name, _plain(value)))
    return options


def _plain(value: object) -> object:
    """A value as TOML could hold it: paths are text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def origins_of(files: Files | None, assignments: Sequence[str] = ()) -> dict[str, str]:
    """`section.key` of each setting that is not a default → where it was given.

    Raises ConfigError as `load_config` does, but for values of a wrong kind.
    """
    tree, origins = _gathered(files, assignments, (), warn=False)
    return {key: _place_of(key, origins, "").removesuffix(f": {key}") for key in _keys(tree)}


def _names(files: Files | None) -> list[str]:
    named = [files] if isinstance(files, str | os.PathLike) else files or []
    return [os.fspath(file) for file in named]


def _gathered(
    files: Files | Config | None,
    assignments: Sequence[str],
    options: Sequence[Option],
    *,
    warn: bool,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings that were given, as a tree, and by key where; `warn`: log each old name."""
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if isinstance(files, Config):
        tree, files = files.model_dump(), None
    for file in _names(files):
        if not file:
            raise ConfigError("config: is empty; expected is a TOML file such as conf/default.toml")
        read = _with_dotted_names(with_new_names(_parse(_read(file), file), warn=warn))
        tree = _merged(tree, read)
        for key in _keys(read):
            _place(origins, key, f"{file}: {key}")
    for assignment in assignments:
        name, value = _assigned(assignment)
        key = renamed(name)
        if warn:
            warn_of_name(name, key)
        _put(tree, key, renamed_value(key, value, warn=warn), f"--set {name}")
        _place(origins, key, f"--set {name}")
    for option in options:
        key = renamed(option.key)
        if warn:
            warn_of_name(option.key, key)
        _put(tree, key, renamed_value(key, option.value, warn=warn), option.name)
        _place(origins, key, option.name)
    return tree, origins


def _with_dotted_names(tree: dict[str, Any]) -> dict[str, Any]:
    """A tree in which each value WITH_DOTS has one name, whether its dots were quoted."""
    for prefix in WITH_DOTS:
        name, inner, _ = prefix.split(".")
        section = tree.get(name)
        if isinstance(section, dict) and isinstance(section.get(inner), dict):
            tree = tree | {name: section | {inner: dict(dotted(section[inner]))}}
    return tree


def _place(origins: dict[str, str], key: str, where: str) -> None:
    """Note that a setting, with all that may lie below it, is from `where` now."""
    for other in [name for name in origins if _is_within(name, key)]:
        del origins[other]
    origins[key] = where


def _place_of(key: str, origins: Mapping[str, str], otherwise: str) -> str:
    """Where a setting was given: itself, or else the least that it is a part of, or else all that
    is a part of it.
    """
    above = [name for name in origins if _is_within(key, name)]
    if above:
        return origins[max(above, key=len)]
    below = ", ".join(origins[name] for name in origins if _is_within(name, key))
    return f"{below}: {key}" if below else otherwise


def _is_within(key: str, section: str) -> bool:
    """Whether a setting is `section`, or lies below it."""
    return f"{key}.".startswith(f"{section}.")


def _merged(tree: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with what `later` says; sections are merged, lists replaced."""
    merged = dict(tree)
    for name, value in later.items():
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[name] = _merged(before, value)
        else:
            merged[name] = value
    return merged


def _keys(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The names of all values in a tree, with their sections."""
    yield from (key for key, _ in _values(tree, prefix))


def _values(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All values in a tree by their names."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def parse_config(text: str, where: str) -> Config:
    """The settings in a TOML text that came from `where`. Raises ConfigError."""
    return _validate(with_new_names(_parse(text, where), warn=False), where)


def shipped_config(name: str) -> str:
    """The path of one of our conf/ files: in the wheel beside the code, else in the checkout."""
    package = Path(__file__).parent.parent
    places = (package / "conf" / name, package.parent / "conf" / name)
    return str(next(place for place in places if place.exists()))


def to_toml(config: Config) -> str:
    """The resolved settings as TOML that `load_config` reads back; secrets are left out."""
    tree = config.model_dump(mode="json")
    conf = tree["spark"]["conf"]
    tree["spark"]["conf"] = {
        key: without_secrets(value)
        for key, value in conf.items()
        if not (SECRET.search(key) or SECRET.search(value))  # as Spark does
    }
    tree["spark"]["master"] = without_secrets(config.spark.master)
    tree["mlflow"]["tracking_uri"] = without_password(config.mlflow.tracking_uri)
    return tomli_w.dumps(tree)


def _read(file: str) -> str:
    try:
        return Path(file).read_text("utf-8-sig")  # Notepad writes a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file}: can't be read ({error}). A config is a TOML file such as conf/default.toml"
        ) from None


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from None


def _validate(tree: dict[str, Any], where: str, origins: Mapping[str, str] | None = None) -> Config:
    """The settings of a tree that is from `where`, but for the keys that have other `origins`."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = []
        for detail in _without_consequences(error.errors(include_url=False)):
            key = ".".join(str(part) for part in detail["loc"])
            place = _place_of(key, origins or {}, f"{where}: {key}")
            lines.append(without_secrets(f"{place}: {_explain(detail)}"))
        raise ConfigError("\n".join(lines)) from None
    except UsageError as error:  # a path with a secret in it, which pydantic would repeat
        key = next((key for key, value in _values(tree) if _is_refused(value, error)), "")
        raise ConfigError(f"{_place_of(key, origins or {}, f'{where}: {key}')}: {error}") from None


def _is_refused(value: object, error: UsageError) -> bool:
    """Whether the error is of this path, or of one in this list."""
    for path in value if isinstance(value, list | tuple) else [value]:
        try:
            check_no_secret(str(path))
        except UsageError as own:
            if str(own) == str(error):
                return True
    return False


def _without_consequences(details: list[Any]) -> list[Any]:
    """Pydantic's errors but those that a list is too short: of values that are wrong, each has its
    own.
    """
    inner = [detail["loc"][:-1] for detail in details]
    return [each for each in details if each["type"] != "too_short" or each["loc"] not in inner]


def _assigned(assignment: str) -> tuple[str, Any]:
    """`section.key=value` → (section.key, value); a value that is not TOML is text."""
    name, equals, value = _halves(assignment)
    key = name.strip()
    if not equals or "." not in key or not all(key.split(".")):
        raise ConfigError(
            f"--set {assignment}: expected section.key=value, such as --set train.epochs=25"
        )
    try:
        read = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return key, value.strip()
    if len(read) > 1:
        raise ConfigError(f"--set {key}: one value is expected, and more lines follow it")
    found = read["value"]
    as_text = key.startswith(SPARK_CONF) and not isinstance(found, str)
    return key, value.strip() if as_text else found


def _halves(assignment: str) -> tuple[str, str, str]:
    """What stands before the = of an assignment, the =, and what follows. Names may be quoted, as
    TOML has them.
    """
    quoted = QUOTED_KEY.match(assignment)
    if not quoted:
        return assignment.partition("=")  # type: ignore[return-value]
    try:
        tree = tomllib.loads(f"{quoted[0]} 0")
    except tomllib.TOMLDecodeError:
        return assignment.partition("=")  # type: ignore[return-value]
    names = []
    while isinstance(tree, dict):
        ((name, tree),) = tree.items()
        names.append(name)
    return ".".join(names), "=", assignment[quoted.end() :]


def _put(tree: dict[str, Any], key: str, value: object, where: str) -> None:
    """Put a value into its section."""
    own = (section for section in WITH_DOTS if key.startswith(section))
    prefix = next(own, key.rpartition(".")[0] + ".")
    place = tree
    for name in prefix.rstrip(".").split("."):
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise ConfigError(
                f"{where}: there is {name} = {place!r}, but {name} is a section: "
                f"[{prefix.rstrip('.')}]"
            )
    place[key.removeprefix(prefix)] = value


def _explain(detail: Any) -> str:
    """One of pydantic's errors: what happened, what to do."""
    location = [str(part) for part in detail["loc"]]
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"there is no such setting; {advice}"
    if detail["type"] == "model_type":
        return f"is a section of settings: [{'.'.join(location)}]; got {detail['input']!r}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = detail["input"]
    got = "" if isinstance(given, dict | BaseModel) else f", got {given!r}"
    if detail["type"] == "string_type" and isinstance(given, int | float | date | time):
        text = str(given).lower() if isinstance(given, bool) else given
        got += f'; put it in quotes: "{text}"'
    return f"{message}{got}"


def _known_keys(section: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for name in section:
        model = type(model.model_fields[name].default)
    return list(model.model_fields)
