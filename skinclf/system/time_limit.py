"""Code that must not run for ever, although nobody can say what it does: decoders of images."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HARD = 3.0
"""After so many times the limit, in seconds of CPU, a process that does not react is ended."""


class TimeUp(BaseException):
    """Raised inside `time_limit`. No Exception, since decoders catch those."""


@contextmanager
def time_limit(seconds: float, *, end_process: bool = False) -> Iterator[None]:
    """Raise TimeUp in the block inside after `seconds` of wall time.

    Python runs a signal's handler between two of its instructions: a decoder that hangs within
    one call into C does not notice. With `end_process` the system then ends this process (by
    SIGVTALRM), after HARD times as much CPU. Without effect outside the main thread, where no
    signal arrives, and on systems without timers.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield
        return
    inside = True

    def ring(_number: int, _frame: FrameType | None) -> None:
        if inside:  # a signal that was on its way when the block ended comes too late
            raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    if end_process:
        signal.setitimer(signal.ITIMER_VIRTUAL, HARD * seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        inside = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        if end_process:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGALRM, before)
