"""The `skinclf` command; jobs/NAME.py are the same commands for spark-submit."""

import sys

from skinclf.cli import commands
from skinclf.cli.terminal import say
from skinclf.errors import SkinclfError
from skinclf.system.interruption import ended_by_signals, interrupted_by


def main(job: str | None = None) -> None:
    """Run the command line; `job` is the command when spark-submit starts jobs/NAME.py.

    Ends the process: 0 done, 2 wrong settings or paths, 3 below the quality that is asked for, 75
    storage or cluster failed and a later try may help, 130 or 143 ended by Ctrl-C or SIGTERM, 1
    anything else.
    """
    arguments = sys.argv[1:] if job is None else [job, *sys.argv[1:]]
    name = "skinclf" if job is None else "spark-submit"
    try:
        with ended_by_signals():
            commands.app(arguments, prog_name=name)
    except BaseException as error:  # any: see interrupted_by
        number = interrupted_by()
        if number is not None:
            say("Interrupted. Rerun the same command to resume.", "bold")
            sys.exit(128 + number)  # as shells have it
        if isinstance(error, SkinclfError):
            say(f"error: {error}", "bold red")
            sys.exit(error.exit_status)
        raise
