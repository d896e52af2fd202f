"""What a training does at each moment, for whoever reads the terminal or the log."""

import operator
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import takewhile

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from skinclf.storage.attempt import Heartbeat, current_attempt, read_heartbeat
from skinclf.storage.history import Epoch
from skinclf.storage.run_folder import RunFolder
from skinclf.system.background import watching
from skinclf.system.progress_lines import tell_progress
from skinclf.system.retrying import LONG_PAUSES, retried

POLL_SECONDS = 0.5
NOTHING: Mapping[str, float] = {}

LINE_SECONDS = 30.0
"""Where there is no terminal, a plain line this often: logs stay short."""


@contextmanager
def training_display(
    run: RunFolder, epochs: int, console: Console, cancel: Callable[[], None]
) -> Iterator[None]:
    """Tell of the training inside, wherever it happens, from what the run folder says.

    A line an epoch; between them a bar in a terminal, and plain lines in a log. `cancel` ends
    the training where the run folder can't be read any more.
    """
    # Those of earlier starts were printed when they ran.
    printed = retried(run.read_history, run.path, pauses=LONG_PAUSES)
    with watching(partial(_watch, run, epochs, console, printed), cancel):
        yield


def epoch_line(row: Epoch, epochs: int) -> str:
    """One finished epoch for the terminal."""
    line = (
        f"epoch {row['epoch']:>3.0f}/{epochs}  loss {row['loss']:.4f}  "
        f"accuracy {row['accuracy']:.3f}"
    )
    if "val_loss" in row:
        line += (
            f"  val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.3f}"
            f"  val_balanced {row['val_balanced_accuracy']:.3f}"
        )
    return f"{line}  {row['images_per_second']:.0f} images/s"


class Forecast:
    """How long the steps still take, by those seen so far; validation is paid within them."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._last = 0
        self._told = ""

    def left(self, step: int, steps: int, now: float) -> str:
        """What is left after `step` of all `steps`, in words; "" where nothing can be said yet."""
        if self._first is None or step < self._last:  # begun, or gone back to a checkpoint
            self._first, self._told = (step, now), ""
        first, since = self._first
        if step > max(first, self._last):  # while it waits, nothing more is known
            self._told = f"{in_words((steps - step) * (now - since) / (step - first))} left"
        self._last = step
        return self._told


def in_words(seconds: float) -> str:
    """A duration as people say it: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _watch(
    run: RunFolder,
    epochs: int,
    console: Console,
    printed: list[Epoch],
    done: threading.Event,
) -> None:
    forecast = Forecast()
    lines = Lines(console)
    bar_columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
    with Progress(
        *bar_columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=None, note="")
        finished = False
        while not finished:
            finished = done.wait(POLL_SECONDS)
            history, chief = _read(run, done)
            for row in history[_alike(printed, history) :]:
                tell_progress(console, epoch_line(row, epochs), **row)
            printed = history
            if chief and not finished:
                what, note = describe(chief, epochs, forecast)
                steps = epochs * chief.steps if chief.steps else None
                bar.update(task, description=what, total=steps, completed=_step(chief), note=note)
                if not console.is_terminal:
                    lines.tell(what, note, counts_of(chief))


def _alike(printed: list[Epoch], history: list[Epoch]) -> int:
    """How many epochs are those that were printed; the rest is new, or was trained once more."""
    texts = (map(repr, epochs) for epochs in (printed, history))  # NaN differs from itself
    return sum(1 for _ in takewhile(bool, map(operator.eq, *texts)))


def _read(run: RunFolder, done: threading.Event) -> tuple[list[Epoch], Heartbeat | None]:
    """The epochs that are finished, and the first worker's last heartbeat."""

    def read() -> tuple[list[Epoch], Heartbeat | None]:
        attempt = current_attempt(run.path)
        return run.read_history(), read_heartbeat(run.path, attempt, 0) if attempt else None

    return retried(read, run.path, done.wait, LONG_PAUSES)


class Lines:
    """Plain lines for a log: one when something else is done, and one every half minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._what = self._line = ""
        self._told = time.monotonic()

    def tell(self, what: str, note: str, counts: Mapping[str, float] = NOTHING) -> None:
        """Print, if it is time to; `counts` are the numbers in it."""
        now = time.monotonic()
        line = f"{what}  {note}".rstrip()
        news = what != self._what and not note  # an epoch that begins is none: it has its line
        if line != self._line and (news or now - self._told >= LINE_SECONDS):
            tell_progress(self._console, line, **counts)
            self._told, self._line = now, line
        self._what = what


def describe(chief: Heartbeat, epochs: int, forecast: Forecast) -> tuple[str, str]:
    """What the first worker does, and how far it is: ("epoch 3/25", "step 40/125 …")."""
    if not chief.steps:
        return f"workers: {chief.doing}", ""
    left = forecast.left(_step(chief), epochs * chief.steps, time.monotonic())
    doing = "" if chief.doing == "training" else chief.doing
    note = [
        f"step {chief.step}/{chief.steps}",
        f"loss {chief.loss:.4f}",
        f"{chief.images_per_second:.0f} images/s",
        *filter(None, [left, doing]),
    ]
    return f"epoch {chief.epoch}/{epochs}", "  ".join(note)


def counts_of(chief: Heartbeat) -> dict[str, float]:
    """The numbers of `describe`."""
    names = ("epoch", "step", "steps", "loss", "images_per_second")
    found = ((name, getattr(chief, name)) for name in names)
    return {name: value for name, value in found if value is not None}


def _step(chief: Heartbeat) -> int:
    """Steps since the start of training."""
    if chief.epoch is None or chief.step is None or chief.steps is None:
        return 0
    return (chief.epoch - 1) * chief.steps + chief.step
