"""A thread that looks on while something else is done."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def watching(watch: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `watch` in a thread of its own during the block inside.

    Its event is set when the block ends, however it ends; then the thread is waited for.
    """
    done = threading.Event()
    watcher = threading.Thread(target=watch, args=(done,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
