"""Ctrl-C and SIGTERM end a job in one line, with what it started."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A person or a scheduler ended the job. No KeyboardInterrupt, which click and Spark catch."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number  # as shells have it


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise Interrupted in the block inside when this process gets one of SIGNALS.

    A second signal ends the process at once. Only for the main thread of a process of our own.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # Spark's client logs each call that was under way, with its trace.
        logging.disable(logging.CRITICAL)
        raise Interrupted(number)

    before = {number: signal.signal(number, end) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
