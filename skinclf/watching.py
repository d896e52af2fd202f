"""A thread that looks on while something else is done."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from skinclf.errors import StorageError

CANCEL_SECONDS = 1.0
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between the tries of `retried`: storage that is lost for longer is an error."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@contextmanager
def watching(
    watch: Callable[[threading.Event], None], cancel: Callable[[], None]
) -> Iterator[None]:
    """Run `watch` in a thread of its own during the block inside.

    Its event is set when the block ends, however it ends; then the thread is waited for. If
    `watch` raises an error, `cancel` has to end the block, which nobody watches any more; the
    error is then raised in place of what the block made of its cancellation.
    """
    done = threading.Event()
    failed: list[Exception] = []

    def run() -> None:
        try:
            watch(done)
        except Exception as error:
            failed.append(error)
            while not done.is_set():  # the block may not have begun what is to be cancelled
                cancel()
                done.wait(CANCEL_SECONDS)

    watcher = threading.Thread(target=run, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        if failed:
            raise failed[0]


def retried(read: Callable[[], T], wait: Callable[[float], object]) -> T:
    """What `read` returns; after an OSError it is tried again, after each of PAUSES.

    Shared storage fails now and then and is there again: ESTALE on NFS, a reset connection on S3.
    `wait` waits so many seconds. Raises StorageError after the last try.
    """
    for pause in PAUSES:
        try:
            return read()
        except OSError as error:
            log.warning("can't read (%s); trying again in %.0f s", error, pause)
            wait(pause)
    try:
        return read()
    except OSError as error:
        raise StorageError(
            f"can't be read, tried {len(PAUSES) + 1} times: {error}. Rerun the same command to "
            f"resume, once the storage is there again"
        ) from error
