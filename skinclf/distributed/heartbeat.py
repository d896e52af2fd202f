"""A worker's heartbeats, written to the run folder for as long as its process is alive."""

import itertools
import os
import socket
import threading
from contextlib import suppress
from typing import Any, Self, Unpack

from skinclf.errors import StorageError
from skinclf.storage.attempt import Heartbeat, State, write_heartbeat

PERIOD_SECONDS = 2.0


class HeartbeatThread:
    """Writes a heartbeat every PERIOD_SECONDS from a thread of its own: a long step stops none.

    A process that is stopped sends no more; one that hangs goes on sending the same step.
    """

    def __init__(self, run: str, attempt: str, worker: int) -> None:
        self._run, self._attempt = run, attempt
        self._about: dict[str, Any] = {
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._state: dict[str, Any] = {"doing": "starting"}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def report(self, doing: str, **state: Unpack[State]) -> None:
        """Note what the worker does now; costs no time, it is written later."""
        self._state = {**self._state, "doing": doing, **state}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self) -> None:
        for count in itertools.count(1):
            # The next one follows soon; where it is the disk that is full, a checkpoint says so.
            with suppress(OSError, StorageError):
                heartbeat = Heartbeat(**self._about, **self._state, count=count)
                write_heartbeat(self._run, self._attempt, heartbeat)
            if self._ended.wait(PERIOD_SECONDS):
                return
