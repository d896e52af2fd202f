"""The `skinclf` command; jobs/NAME.py are the same commands for spark-submit."""

import sys
from contextlib import nullcontext

from skinclf.system.interruption import Interrupted, ended_by_signals, interrupted_by
from skinclf.system.spark_submit import ended_with_parent, under_spark_submit


def main(job: str | None = None) -> None:
    """Run the command line; `job` is the command when spark-submit starts jobs/NAME.py.

    Returns when it is done. Else ends the process: 2 wrong settings or paths, 3 below the quality
    that is asked for, 75 storage or cluster failed and a later try may help, 130 or 143 ended by
    Ctrl-C or SIGTERM, 1 anything else.
    """
    try:
        is_child = job is not None and under_spark_submit()
        with ended_by_signals(), ended_with_parent() if is_child else nullcontext():
            # Imported here: that takes a moment, in which a signal may come, too.
            from skinclf.cli.process import run

            run(job)
    except Interrupted:  # before the command began, or after it ended
        sys.exit(128 + (interrupted_by() or 0))
