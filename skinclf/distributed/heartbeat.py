"""What a worker does, told to the run folder for as long as its process is alive."""

import itertools
import os
import socket
import threading
from contextlib import suppress
from typing import Any, Self

from skinclf.errors import StorageError
from skinclf.storage.attempt import write_beat

BEAT_SECONDS = 2.0


class Heartbeat:
    """Tells every other second from a thread of its own, so that a long step is no silence.

    A process that is stopped falls silent; one that hangs goes on telling the same step.
    """

    def __init__(self, run: str, attempt: str, worker: int) -> None:
        self._run, self._attempt = run, attempt
        self._about = {"worker": worker, "host": socket.gethostname(), "pid": os.getpid()}
        self._state: dict[str, Any] = {"doing": "starting"}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def tell(self, doing: str, **state: Any) -> None:
        """Note what the worker does now; costs no time, it is written later."""
        self._state = self._state | {"doing": doing} | state

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        for count in itertools.count(1):
            # What is not written is told again soon; where it is the disk, a checkpoint tells.
            with suppress(OSError, StorageError):
                beat = self._about | self._state | {"count": count}
                write_beat(self._run, self._attempt, beat)
            if self._ended.wait(BEAT_SECONDS):
                return
