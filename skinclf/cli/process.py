"""One command, from its arguments to the exit status of the process."""

import sys
from contextlib import suppress
from typing import Any

from typer.main import get_command

from skinclf.cli import commands
from skinclf.cli.terminal import logged_as_json, tell_end, tell_error, tell_interruption, wants_json
from skinclf.errors import WRONG_USE, SkinclfError
from skinclf.system.interruption import interrupted_by
from skinclf.system.retrying import failure_of

NO_PYSPARK = (
    "pyspark is not installed: pip install 'skinclf[spark]'; on a cluster, spark-submit brings it"
)


def run(job: str | None) -> None:
    """Run the command of the command line, or `job`; end the process unless its status is 0.

    Databricks runs a script inside of its own Python, and takes sys.exit(0) for an error.
    """
    if getattr(sys.stdout, "errors", None) == "strict":
        # A character that the locale lacks must not end the command: it has its own exit status.
        with suppress(AttributeError, ValueError):  # it is no file of text, or closed
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    command: Any = get_command(commands.app)
    name, arguments = "skinclf", sys.argv[1:]
    stage = next((word for word in arguments if not word.startswith("-")), name)
    if job is not None:  # its usage line is then what the user has typed
        command, name, stage = command.commands[job], f"spark-submit jobs/{job}.py", job
    if not wants_json(arguments):
        _run(command, arguments, name, as_json=False)
        return
    with logged_as_json(stage):
        _run(command, arguments, name, as_json=True)


def _run(command: Any, arguments: list[str], name: str, *, as_json: bool) -> None:
    """Run a command of click's, and end the process with its status if that is not 0."""
    status = 1
    try:
        # In JSON, typer may not print by itself what is wrong with the command line.
        status = command(arguments, prog_name=name, standalone_mode=not as_json) or 0
    except BaseException as error:  # any: see interrupted_by
        known = _status_of(error, as_json=as_json)
        if known is None:
            raise
        status = known
    tell_end(status)
    if status:
        sys.exit(status)


def _status_of(error: BaseException, *, as_json: bool) -> int | None:
    """Say what ended the command → the exit status. None: Python says it, and ends with 1."""
    number = interrupted_by()
    if number is not None:
        tell_interruption("Interrupted. Rerun the same command.")
        return 128 + number  # as shells have it
    if isinstance(error, SystemExit):
        return int(error.code or 0)
    known = failure_of(error) if isinstance(error, OSError) else error
    if isinstance(known, SkinclfError):
        tell_error(str(known))
        return known.exit_status
    if isinstance(error, ModuleNotFoundError) and error.name == "pyspark":
        tell_error(NO_PYSPARK)
        return WRONG_USE
    if not as_json:
        return None
    told = getattr(error, "format_message", None)  # of typer's own errors
    if told:
        tell_error(told())
        return int(getattr(error, "exit_code", WRONG_USE))
    tell_error(f"{type(error).__name__}: {error}", error)
    return 1
