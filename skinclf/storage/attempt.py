"""One attempt to train a run: whether it may write, and what its workers report to the driver.

runs/<name>/
  attempt.json            the attempt that may write here
  workers/ATTEMPT/        0.json …: each worker's heartbeat; 0-error.json …: what ended it

What a worker of an earlier attempt still reports is in that attempt's folder, where nobody reads.
"""

import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypedDict

from skinclf.errors import SkinclfError, TrainingError
from skinclf.storage.files import delete, join, list_names, read_json, write_json

ATTEMPT, WORKERS = "attempt.json", "workers"

NAME = re.compile("[0-9a-f]{32}")
"""What attempts are called."""


class State(TypedDict, total=False):
    """What a worker reports of its training: the last six of Heartbeat."""

    epoch: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    validation_step: int


@dataclass(frozen=True)
class Heartbeat:
    """A worker's sign of life, and what it does. The last six only once it trains."""

    worker: int
    host: str
    pid: int
    count: int  # of its heartbeats
    doing: str
    epoch: int | None = None
    step: int | None = None
    steps: int | None = None  # of an epoch
    loss: float | None = None  # mean of the epoch so far
    images_per_second: float | None = None  # of all workers together
    validation_step: int = 0


FINAL = (
    *(SkinclfError, ImportError, NameError, AttributeError, TypeError, ValueError, LookupError),
    *(ArithmeticError, AssertionError, NotImplementedError),
)
"""Errors of the training itself, which another attempt would meet again. All others, such as an
OSError or TensorFlow's that a peer is gone, may be those of its surroundings."""


class WorkerError(NamedTuple):
    """What ended a worker."""

    name: str  # of the error's class
    message: str
    retryable: bool


def worker_error(error: Exception) -> WorkerError:
    """What the driver has to know of the error that ended a worker."""
    return WorkerError(type(error).__name__, str(error), not isinstance(error, FINAL))


def begin_attempt(run: str, attempt: str) -> None:
    """Let this attempt alone write to the run from now on; reports of earlier ones are deleted.

    A worker that was frozen and comes back, or another driver's, is refused by `check_attempt`.
    """
    write_json(join(run, ATTEMPT), {"attempt": attempt})
    folder = join(run, WORKERS)
    with suppress(OSError):  # a worker that comes back may write meanwhile; it is in nobody's way
        for name in list_names(folder):
            if NAME.fullmatch(name):  # not what a user keeps there
                delete(join(folder, name))


def check_attempt(run: str, attempt: str) -> None:
    """Raise TrainingError unless `attempt` is the one that may write."""
    if current_attempt(run) != attempt:
        raise TrainingError(
            f"{run}: another attempt to train this run has begun; this one ({attempt}) ends. Was "
            f"the same command started twice?"
        )


def current_attempt(run: str) -> str:
    """The attempt that may write; "" before the first."""
    try:
        return str(read_json(join(run, ATTEMPT))["attempt"])
    except FileNotFoundError:
        return ""


def write_heartbeat(run: str, attempt: str, heartbeat: Heartbeat) -> None:
    """Report what a worker does; the next heartbeat makes up for one that a crash loses."""
    path = _report(run, attempt, f"{heartbeat.worker}")
    write_json(path, asdict(heartbeat), durable=False)


def read_heartbeat(run: str, attempt: str, worker: int) -> Heartbeat | None:
    """A worker's last heartbeat; None before the first."""
    stored = _read(_report(run, attempt, f"{worker}"))
    return Heartbeat(**stored) if stored else None


def write_error(run: str, attempt: str, worker: int, error: Exception) -> None:
    """Report what ended a worker."""
    write_json(_report(run, attempt, f"{worker}-error"), worker_error(error)._asdict())


def read_errors(run: str, attempt: str, workers: int) -> list[WorkerError]:
    """What ended workers, by their number; a process that was killed reports nothing."""
    found = [_read(_report(run, attempt, f"{worker}-error")) for worker in range(workers)]
    return [WorkerError(**error) for error in found if error]


def _report(run: str, attempt: str, name: str) -> str:
    return join(run, WORKERS, attempt, f"{name}.json")


def _read(path: str) -> dict[str, Any]:
    try:
        return dict(read_json(path))
    except FileNotFoundError:
        return {}
