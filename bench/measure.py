"""Run a command and measure what it and all its descendants cost."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of CPU; the JVM and Python workers are counted too."""

    seconds: float
    cpu_seconds: float


def measured(command: list[str]) -> Cost:
    """Run `command` to its end. Processes that nobody waits for are read from /proc (Linux)."""
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    cpu: dict[int, float] = {}
    while process.poll() is None:
        cpu |= _cpu_of_tree(process.pid)
        time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{process.stderr and process.stderr.read()}")
    return Cost(seconds, sum(cpu.values()))


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


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
