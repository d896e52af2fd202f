"""One job at a time writes to an output folder: the folder itself names it.

The owner renews its record; where it was killed, the next job takes the folder over: at once if
the owner was a process of this machine, else when the record has not been renewed for a while.
Nothing is renamed or locked, so that it works on local disks, shared ones and object storage.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from skinclf.errors import OwnershipLost, StorageError, UsageError
from skinclf.storage.files import delete, exists, join, local_path, read_json, write_json
from skinclf.system.background import watching
from skinclf.system.retrying import LONG_PAUSES, retried

RECORD = "owner.json"
RENEW_SECONDS = 5.0
LEASE_SECONDS = 30.0
"""An owner on another machine that has not renewed its record for so long is gone."""

SETTLE_SECONDS = (0.2, 1.0)
"""After writing a record, on local and on other storage: the last of several writers has it."""


_HELD: set[str] = set()
"""The tokens of what this process owns. A record of this process with another one is left over: the
storage failed when it was to be deleted."""


class Owner(NamedTuple):
    """What a record says."""

    token: str  # of this ownership alone
    job: str  # such as prepare
    host: str
    pid: int
    process: str  # names the process among all that ran on the machine; "" if nothing does
    since: str  # UTC, ISO 8601
    renewed: float  # seconds since 1970 by the owner's clock


_ENDED: set[Owner] = set()
"""Records of owners that have ended, as they were: nobody waits for them twice."""


@contextmanager
def owned(
    folder: str,
    job: str,
    cancel: Callable[[], None],
    *,
    now: Callable[[], float] = time.time,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[Callable[[], None]]:
    """Own `folder` during the block inside; yields a check that raises OwnershipLost where it does
    not any more, for the moments in which that would do harm.

    Raises UsageError, which names the owner, if another job has it. If another job takes it
    meanwhile, which happens only where this one was frozen, `cancel` has to end the block, and
    OwnershipLost is raised.
    """
    check_free(folder, wait)
    owner = _this(job, now())

    def ask() -> None:
        current = _read(folder)
        if current is None or current.token != owner.token:
            raise OwnershipLost(f"{folder}: another job has taken this folder; this one ends")

    def check() -> None:
        retried(ask, folder, wait, LONG_PAUSES)

    def renew_once() -> None:
        ask()  # before each try: while the storage failed, another job may have taken the folder
        with suppress(StorageError):  # such as a full disk: whether it lasts, others find out
            _write(folder, owner._replace(renewed=now()))

    def renew(done: threading.Event) -> None:
        while not done.wait(RENEW_SECONDS):
            retried(renew_once, folder, done.wait, LONG_PAUSES)

    _HELD.add(owner.token)  # before its record is there for others to read
    try:
        _write(folder, owner)
        wait(SETTLE_SECONDS[local_path(folder) is None])
        current = _read(folder)
        if current is not None and current.token != owner.token:
            raise UsageError(_refusal(folder, current))
        with watching(renew, cancel):
            yield check
    finally:
        _HELD.discard(owner.token)
        with suppress(OSError):
            current = _read(folder)
            if current is not None and current.token == owner.token:
                delete(join(folder, RECORD))


def check_free(
    folder: str,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Raise UsageError, which names the owner, if another job owns `folder`.

    Waits only where the owner is on another machine: until it renews its record or, where it was
    killed, for LEASE_SECONDS. What the record says of the time is by another clock.
    """
    owner = _read(folder)
    if owner is None and local_path(folder) is None and exists(folder):
        # Some storage, such as HDFS, can't replace a file: while it is renewed there is none.
        wait(SETTLE_SECONDS[True])
        owner = _read(folder)
    if owner is None or owner in _ENDED:
        return
    alive = _is_alive(owner)
    if alive is None:
        alive = _renews(folder, owner, wait)
    if alive:
        raise UsageError(_refusal(folder, owner))
    _ENDED.add(owner)


def _renews(folder: str, owner: Owner, wait: Callable[[float], object]) -> bool:
    for _ in range(int(LEASE_SECONDS)):
        wait(1.0)
        current = _read(folder)
        if current is None:  # it may be renewed now, as in `check_free`
            wait(SETTLE_SECONDS[True])
            current = _read(folder)
            if current is None:
                return False
        if current != owner:
            return True
    return False


def _refusal(folder: str, owner: Owner) -> str:
    return (
        f"{folder}: a job ({owner.job}) on host {owner.host}, process {owner.pid}, has owned this "
        f"folder since {owner.since}. Wait for it, or choose another folder"
    )


def _this(job: str, now: float) -> Owner:
    since = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    pid = os.getpid()
    return Owner(uuid4().hex, job, socket.gethostname(), pid, process_name(pid), since, now)


def process_name(pid: int) -> str:
    """A name of a process that no other process has or had: machine since its start, namespace
    (containers number their processes anew), number and time of start. "" if there is none.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {pid} {stat[19]}"
    except OSError:
        return ""


def _is_alive(owner: Owner) -> bool | None:
    """Whether an owner's process runs, and owns what it did if it is this one; None if it is none
    of this machine's, or hidden from this user.
    """
    here, parts = process_name(os.getpid()), owner.process.split()
    if len(parts) != 4 or parts[:2] != here.split()[:2]:
        return None
    if owner.process == here:
        return owner.token in _HELD
    pid = int(parts[2])
    name = process_name(pid)
    return None if not name and _is_another_user_s(pid) else name == owner.process


def _is_another_user_s(pid: int) -> bool:
    """Whether there is such a process, which this one may not signal."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _read(folder: str) -> Owner | None:
    try:
        return Owner(**read_json(join(folder, RECORD)))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UsageError(f"{folder}: is a file, or lies below one; name a folder") from None
    except (ValueError, TypeError):  # a crash of the machine left it without its content
        return None


def _write(folder: str, owner: Owner) -> None:
    write_json(join(folder, RECORD), owner._asdict(), durable=False)
