"""How far a scoring is: a bar in a terminal, a line a micro-batch in a log."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from skinclf.reporting.training_progress import in_words
from skinclf.system.progress_lines import tell_progress

LINE_SECONDS = 15.0


class ScoreDisplay:
    """Images scored, images/s, rejects so far and the time that is left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._expected = self._scored = self._rejects = 0
        self._started = self._told = time.monotonic()
        self._bar = Progress(
            TextColumn("score"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("score", total=None, note="")

    def expect(self, images: int) -> None:
        """So many images are still to come."""
        self._expected = self._scored + images
        self._started = time.monotonic() if not self._scored else self._started

    def add(self, images: int, rejects: int) -> None:
        """A micro-batch is done."""
        self._scored += images
        self._rejects += rejects
        now = time.monotonic()
        rate = self._scored / max(now - self._started, 1e-9)
        note = f"{self._scored:,}"
        if self._expected:
            note += f" of {self._expected:,}"
        note += f" images  {rate:.0f} images/s  {self._rejects:,} rejects"
        if self._expected > self._scored:
            note += f"  {in_words((self._expected - self._scored) / rate)} left"
        self._bar.update(
            self._task, completed=self._scored, total=self._expected or None, note=note
        )
        if not self._console.is_terminal and now - self._told > LINE_SECONDS:
            self._told = now
            counts = {"images": self._scored, "expected": self._expected, "rejects": self._rejects}
            tell_progress(self._console, f"score  {note}", **counts, images_per_second=round(rate))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
