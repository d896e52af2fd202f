"""What a command costs: with all its descendants, by the clock and in CPU time (Linux)."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

SKINCLF = str(Path(sys.executable).with_name("skinclf"))
POLL_SECONDS = 0.2
LEFT_SECONDS = 30.0
"""For which descendants may outlive the command, before they are ended."""

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of CPU, of a command and all its descendants."""

    seconds: float
    cpu_seconds: float


def measured(command: list[str]) -> Cost:
    """Run `command` to its end. Raises SystemExit with what it printed where it fails.

    The kernel adds up what ended processes have used once their parents have waited for them. This
    process adopts those whose parents did not, so that none is missed, however short its life.
    """
    adopt_orphans()
    others = _children()
    before, start = _used(), time.monotonic()
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    seconds = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{process.stdout.decode()[-5000:]}")
    _wait_for_adopted(others)
    return Cost(seconds, _used() - before)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parents have ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _used() -> float:
    """CPU seconds of all descendants that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_for_adopted(others: set[int]) -> None:
    """Wait for the children that came since `others` were all."""
    deadline = time.monotonic() + LEFT_SECONDS
    while adopted := _children() - others:
        for pid in adopted:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)


def _children() -> set[int]:
    own = os.getpid()
    return {pid for pid, parent in _parents().items() if parent == own}


def watched(command: list[str]) -> tuple[Cost, dict[str, int]]:
    """Run `command` to its end → its cost, and the peak memory in MB of the driver, its JVM and
    the largest of its Python workers.
    """
    adopt_orphans()
    others = _children()
    before, start = _used(), time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    peaks = {"driver": 0, "JVM": 0, "Python worker": 0}
    while process.poll() is None:
        for pid in _family(process.pid):
            name, megabytes = _peak_of(pid)
            kind = "driver" if pid == process.pid else "JVM" if name == "java" else "Python worker"
            peaks[kind] = max(peaks[kind], megabytes)
        time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{process.stderr and process.stderr.read()}")
    _wait_for_adopted(others)
    return Cost(seconds, _used() - before), peaks


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _peak_of(pid: int) -> tuple[str, int]:
    """(name, MB) of a process; nothing where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    fields = dict(line.split(":", 1) for line in lines)
    return fields["Name"].strip(), int(fields.get("VmHWM", "0 kB").split()[0]) // 1024


def _parents() -> dict[int, int]:
    """Process → its parent, of all processes."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(fields[1])
    return parents


def _family(root: int) -> set[int]:
    """`root` and each living descendant."""
    parents, family, grown = _parents(), {root}, True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in family} - family
        family |= children
        grown = bool(children)
    return family
