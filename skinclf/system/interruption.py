"""Ctrl-C and SIGTERM end a job in one line, with what it started."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM)

CANCEL_SECONDS = 10.0

T = TypeVar("T")

_received: list[int] = []

_handling: list[bool] = []
"""Something, while signals are ours."""

_whole: list[str] = []
"""What is done, while it must not be broken in two."""

cancellations: list[Callable[[], None]] = []
"""What ends the work that this process waits for elsewhere. Called in a thread of its own, since
the main thread may be in the middle of a call to the JVM, which answers no other until it ends."""


class Interrupted(BaseException):
    """A person or a scheduler ended the job. No KeyboardInterrupt, which click and Spark catch."""


log = logging.getLogger(__name__)


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
        if _whole:
            log.warning("%s: the job ends when that is done. Once more ends it at once", _whole[0])
        # Spark's client logs each call that was under way, with its trace.
        logging.disable(logging.CRITICAL)
        if _whole:
            return  # in_one_piece raises
        for cancel in cancellations:
            thread = threading.Thread(target=cancel, daemon=True)
            thread.start()
            thread.join(CANCEL_SECONDS)
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, end) for number in SIGNALS}
    _handling.append(True)
    try:
        yield
    finally:
        _handling.pop()
        for number, handler in before.items():
            signal.signal(number, handler)


def in_one_piece(what: str, do: Callable[[], T], undo: Callable[[T], object]) -> T:
    """What `do` returns. A signal that comes meanwhile is heeded when it is done, and undone: half
    done, nobody could end it. A second signal ends the process at once. `what` is being done, in
    words.

    Where signals are ours `do` runs in a thread of its own: Spark, which takes over SIGINT in the
    main thread, then does not.
    """
    if not _handling or threading.current_thread() is not threading.main_thread():
        return do()
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(do())
        except BaseException as error:  # any: it is raised below
            done.set_exception(error)

    _whole.append(what)
    try:
        threading.Thread(target=work, daemon=True).start()
        result = done.result()
    finally:
        _whole.pop()
    if _received:
        undo(result)
        raise Interrupted(signal.Signals(_received[0]).name)
    return result
