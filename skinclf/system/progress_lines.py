"""Lines that say how far a job is: for a person on the console, and with numbers for a log."""

import logging

from rich.console import Console

from skinclf.system.interruption import interrupted_by

PROGRESS = "skinclf.progress"
"""The logger of these lines. Who prints them anyway leaves its records out."""

log = logging.getLogger(PROGRESS)


def tell_progress(console: Console, line: str, **counts: float) -> None:
    """Print a line, and log it with what it counts; nothing once a signal ends the job."""
    if interrupted_by() is not None:
        return
    console.print(line, highlight=False)
    log.info("%s", line, extra={"event": "progress", "counts": counts})
