"""What spark-submit is to the Python process that it starts."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from skinclf.system.background import watching

LOOK_SECONDS = 1.0


def under_spark_submit() -> bool:
    """Whether spark-submit started this process and with it the choice of master is made."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


@contextmanager
def ended_with_parent() -> Iterator[None]:
    """Send this process SIGTERM if the one that started it ends during the block inside.

    spark-submit's JVM starts Python and does not pass on the signal that ends it. Jobs that ask
    the JVM for something find out; a training in local mode does not, and would go on unseen.
    """
    parent = os.getppid()

    def watch(done: threading.Event) -> None:
        while os.getppid() == parent:
            if done.wait(LOOK_SECONDS):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    with watching(watch, cancel=lambda: None):
        yield
