"""`--log-format json`: one JSON object a line on stderr, for log collectors.

Every object has time, level, stage, run and message; `event` is begin, progress or end, where it is
one of these; counts, seconds, exit_status and traceback are there where there is something.
"""

import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from skinclf.cli.terminal import VARIABLE
from skinclf.config.loader import SECRET
from skinclf.config.schema import Config
from skinclf.system.stderr import stderr_lines
from skinclf.system.uris import OF_A_SERVER, without_secrets

FIRST = ("time", "level", "stage", "run", "message", "event", "counts")

LEAST_SECRET = 8
"""Characters; what is shorter can't be distinguished from other text."""

FOLDERS_OF_THE_SHELL = ("PWD", "OLDPWD")
"""No passwords, whatever their names look like: each path of the log may begin so."""

FOLDERS: Mapping[str, Callable[[Config], str]] = {
    **dict.fromkeys(("prepare", "explore"), lambda config: config.dataset.path),
    **dict.fromkeys(
        ("train", "evaluate", "score", "export", "replicate", "doctor"),
        lambda config: config.run.path,
    ),
    "cross-validate": lambda config: config.cross_validate.output,
}
"""Stage → the folder that `run` names; of other stages null."""


class JsonLog:
    """Where everything is logged that a command has to say, but for its results."""

    def __init__(self, stage: str, stream: TextIO) -> None:
        self._formatter = Formatter(
            "%(levelname)s %(message)s",
            rename_fields={"levelname": "level", "exc_info": "traceback"},
            static_fields={"stage": stage, "run": None},
            timestamp="time",
        )
        self.handler = Handler(stream)
        self.handler.setFormatter(self._formatter)
        self._stage, self._started = stage, time.monotonic()

    def begin(self, config: Config) -> None:
        """The settings are read: from now on each line has the run, and no secret of theirs."""
        folder = FOLDERS.get(self._stage)
        self._formatter.static_fields["run"] = folder(config) if folder else None
        self._formatter.secrets.update(secrets_of(config))
        self.write(logging.INFO, f"{self._stage} begins", event="begin")

    def end(self, status: int) -> None:
        """The last line."""
        seconds = round(time.monotonic() - self._started, 3)
        level = logging.ERROR if status else logging.INFO
        how = f"ended with exit status {status}" if status else "done"
        fields = {"event": "end", "exit_status": status, "seconds": seconds}
        self.write(level, f"{self._stage}: {how}", **fields)

    def foreign(self, line: str) -> None:
        """Pass on a line that something else wrote to stderr, such as the JVM; as it is where it is
        JSON, which Spark's logger writes.
        """
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            level = logging.getLevelNamesMapping().get(str(found.get("level")), logging.WARNING)
            known = {k: found[k] for k in ("logger", "traceback") if found.get(k)}
            self.write(level, str(found.get("message", line)), **known)
        else:
            self.write(logging.WARNING, line, logger="stderr")

    def write(self, level: int, message: str, **fields: object) -> None:
        """Write one line, also where logging is switched off: after an interruption."""
        error = fields.pop("exc_info", None)
        record = logging.LogRecord("skinclf", level, "", 0, message, None, error)  # type: ignore[arg-type]
        record.__dict__.update(fields)
        self.handler.handle(record)


@contextmanager
def json_logging(stage: str) -> Iterator[JsonLog]:
    """Log all that this process says in the block inside: its own log records, warnings, those of
    other libraries from WARNING on, and whatever else it and its children write to stderr.
    """
    root, ours = logging.getLogger(), logging.getLogger("skinclf")
    before = root.handlers[:], root.level, ours.level, os.environ.get(VARIABLE)
    # sys.stderr is another in tests.
    own = sys.stderr if sys.stderr is not sys.__stderr__ else None
    with stderr_lines(lambda line: log.foreign(line)) as descriptor:
        log = JsonLog(stage, own or os.fdopen(os.dup(descriptor), "w"))
        os.environ[VARIABLE] = "json"
        root.handlers[:] = [log.handler]
        root.setLevel(logging.WARNING)
        ours.setLevel(logging.INFO)
        logging.captureWarnings(True)
        try:
            yield log
        finally:
            logging.captureWarnings(False)
            root.handlers[:], level, our_level, variable = before
            root.setLevel(level)
            ours.setLevel(our_level)
            os.environ.pop(VARIABLE)
            if variable is not None:
                os.environ[VARIABLE] = variable


class Handler(logging.StreamHandler[TextIO]):
    """A line that can't be written, such as to a full disk, is lost: the job goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Report an error in a record itself alone: reports are written to stderr, which this log
        is made of, and would fail as the line did.
        """
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


class Formatter(JsonFormatter):
    """Fields in one order, without secrets."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.secrets = set(secrets_of_environment(os.environ))

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """The fields that every line has come first."""
        first = {name: log_data.pop(name) for name in FIRST if name in log_data}
        counts = first.pop("counts", None)
        if counts:  # a loss may be nan, which JSON does not have
            finite = {n: count if math.isfinite(count) else None for n, count in counts.items()}
            first["counts"] = finite
        return first | log_data

    def serialize_log_record(self, log_data: dict[str, Any]) -> str:
        """One line of JSON; what is secret in its strings is ***.

        Strings of JSON have quotes and backslashes of their own, which no pattern must take.
        """
        plain = json.loads(super().serialize_log_record(log_data))
        return super().serialize_log_record(self._redacted(plain))

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._redacted(name): self._redacted(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._redacted(inner) for inner in value]
        if not isinstance(value, str):
            return value
        text = without_secrets(OF_A_SERVER.sub("***@", value))
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def secrets_of(config: Config) -> Iterator[str]:
    """The values of Spark properties whose names say that they are secret."""
    for key, value in config.spark.conf.items():
        if SECRET.search(key) and len(value) >= LEAST_SECRET:
            yield value


def secrets_of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """The same of environment variables, such as AWS_SECRET_ACCESS_KEY."""
    for name, value in environment.items():
        if name in FOLDERS_OF_THE_SHELL:
            continue
        if SECRET.search(name.replace("_", ".")) and len(value) >= LEAST_SECRET:
            yield value
