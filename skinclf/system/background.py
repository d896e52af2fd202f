"""A thread that looks on while something else is done."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CANCEL_SECONDS = 1.0


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
