"""What a command costs: with all its descendants, by the clock and in CPU time (Linux)."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

SKINCLF = str(Path(sys.executable).with_name("skinclf"))
TICKS = os.sysconf("SC_CLK_TCK")
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
    """Run `command` to its end. Raises SystemExit with what it printed where it fails."""
    return watched(command)[0]


def watched(command: list[str]) -> tuple[Cost, dict[str, int]]:
    """Run `command` to its end → its cost, and the peak memory in MB of the driver, its JVM and
    the largest of its Python workers.

    CPU time is counted in two ways, of which each misses something, and the larger sum is taken.
    The kernel adds up what processes have used that were waited for; PySpark's daemon does not wait
    for its workers. Looking at each living process misses what a short life or the last moment of a
    long one has used.
    """
    _adopt_orphans()
    others, before, start = _children(), _waited_for(), time.monotonic()
    seen: dict[int, float] = {}
    peaks = {"driver": 0, "JVM": 0, "Python worker": 0}
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for pid in _family({process.pid} | _children() - others):
                seen[pid] = _cpu_of(pid) or seen.get(pid, 0.0)
                name, megabytes = _peak_of(pid)
                of_java = "JVM" if name == "java" else "Python worker"
                kind = "driver" if pid == process.pid else of_java
                peaks[kind] = max(peaks[kind], megabytes)
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - start
        if process.returncode:
            printed.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{printed.read()[-5000:]}")
    _wait_for_adopted(others)
    return Cost(seconds, max(_waited_for() - before, sum(seen.values()))), peaks


def _adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parents have ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _waited_for() -> float:
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


def _cpu_of(pid: int) -> float:
    """CPU seconds of a process so far, its children left out; 0 where it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def _parents() -> dict[int, int]:
    """Process → its parent, of all processes."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = {pid: _stat(pid) for pid in pids}
    return {pid: int(fields[1]) for pid, fields in found.items() if fields}


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name; none where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _family(roots: set[int]) -> set[int]:
    """`roots` and each living descendant."""
    parents, family, grown = _parents(), set(roots), True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in family} - family
        family |= children
        grown = bool(children)
    return family
