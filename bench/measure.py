"""Run a command and measure what it and all its descendants cost."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.2
SKINCLF = str(Path(sys.executable).with_name("skinclf"))


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of CPU; the JVM and Python workers are counted too."""

    seconds: float
    cpu_seconds: float


def measured(command: list[str]) -> Cost:
    """Run `command` to its end. Processes that nobody waits for are read from /proc (Linux)."""
    return watched(command)[0]


def watched(command: list[str]) -> tuple[Cost, dict[str, int]]:
    """Run `command` to its end → its cost, and the peak memory in MB of the driver, its JVM and
    the largest of its Python workers.
    """
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    cpu: dict[int, float] = {}
    peaks = {"driver": 0, "JVM": 0, "Python worker": 0}
    while process.poll() is None:
        seen = _cpu_of_tree(process.pid)
        cpu |= seen
        for pid in seen:
            name, megabytes = _peak_of(pid)
            kind = "driver" if pid == process.pid else "JVM" if name == "java" else "Python worker"
            peaks[kind] = max(peaks[kind], megabytes)
        time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{process.stderr and process.stderr.read()}")
    return Cost(seconds, sum(cpu.values())), peaks


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


def _cpu_of_tree(root: int) -> dict[int, float]:
    """CPU seconds so far of `root` and each living descendant, by process id."""
    parents: dict[int, int] = {}
    cpu: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(fields[1])
            cpu[int(entry.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    family = {root}
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in family} - family
        family |= children
        grown = bool(children)
    return {pid: cpu[pid] for pid in family if pid in cpu}
