"""Ctrl-C and SIGTERM end a job in one line, with what it started."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

CANCEL_SECONDS = 10.0

_received: list[int] = []

cancellations: list[Callable[[], None]] = []
"""What ends the work that this process waits for elsewhere. Called in a thread of its own, since
the main thread may be in the middle of a call to the JVM, which answers no other until it ends."""


class Interrupted(BaseException):
    """A person or a scheduler ended the job. No KeyboardInterrupt, which click and Spark catch."""


def interrupted_by() -> int | None:
    """The signal that ends this process, once there is one.

    To be asked rather than to catch Interrupted: what is undone on its way up may call the JVM,
    whose connection is unusable then, and raise errors of its own.
    """
    return _received[0] if _received else None


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise Interrupted in the block inside when this process gets one of SIGNALS.

    A second signal ends the process at once. Only for the main thread of a process of our own.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        _received.append(number)
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # Spark's client logs each call that was under way, with its trace.
        logging.disable(logging.CRITICAL)
        for cancel in cancellations:
            thread = threading.Thread(target=cancel, daemon=True)
            thread.start()
            thread.join(CANCEL_SECONDS)
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, end) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
