import io
import math
import time
from pathlib import Path

import pytest
from rich.console import Console

from skinclf.reporting.training_progress import (
    Forecast,
    Lines,
    describe,
    in_words,
    training_display,
)
from skinclf.storage.attempt import Heartbeat
from skinclf.storage.history import Epoch
from skinclf.storage.run_folder import RunFolder

CHIEF = Heartbeat(
    worker=0,
    host="node",
    pid=70,
    count=9,
    doing="training",
    epoch=2,
    step=10,
    steps=100,
    loss=0.51234,
    images_per_second=321.4,
)


def test_what_is_left_follows_from_the_steps_seen_so_far() -> None:
    forecast = Forecast()
    assert forecast.left(100, 500, now=0.0) == ""
    assert forecast.left(200, 500, now=60.0) == "3 min left"
    assert forecast.left(150, 500, now=70.0) == ""  # gone back to a checkpoint
    assert forecast.left(160, 500, now=71.0) == "34 s left"


def test_durations_in_words() -> None:
    assert [in_words(s) for s in (5, 89, 90, 3540, 12000)] == [
        *("5 s", "89 s", "2 min", "59 min", "3 h 20 min")
    ]


def test_a_training_is_described_by_epoch_step_loss_speed_and_time() -> None:
    forecast = Forecast()
    forecast.left(100, 500, 0.0)
    what, note = describe(CHIEF, 5, forecast)
    assert what == "epoch 2/5"
    assert note.startswith("step 10/100  loss 0.5123  321 images/s  ")
    assert note.endswith("left")
    what, note = describe(Heartbeat(0, "node", 70, 1, "importing TensorFlow"), 5, forecast)
    assert (what, note) == ("workers: importing TensorFlow", "")


def test_a_log_gets_a_line_when_something_else_is_done_but_not_for_each_step() -> None:
    printed = io.StringIO()
    lines = Lines(Console(file=printed))
    for what, note in (
        ("workers: starting", ""),
        ("workers: starting", ""),
        ("workers: importing TensorFlow", ""),
        ("epoch 1/5", "step 1/100"),
        ("epoch 1/5", "step 2/100"),
    ):
        lines.tell(what, note)
    assert printed.getvalue().splitlines() == ["workers: starting", "workers: importing TensorFlow"]


def test_a_training_that_waits_is_not_told_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As while workers restart: no step is taken, and time passes."""
    monkeypatch.setattr("skinclf.reporting.training_progress.LINE_SECONDS", 0.0)
    forecast, printed = Forecast(), io.StringIO()
    lines = Lines(Console(file=printed, width=200))
    forecast.left(100, 500, now=0.0)
    for now in (60.0, 120.0, 600.0):
        lines.tell("epoch 2/5", forecast.left(200, 500, now))
    assert printed.getvalue().splitlines() == ["epoch 2/5  3 min left"]


def test_epochs_that_are_taken_again_are_printed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the only checkpoint was lost, and training begins anew."""
    monkeypatch.setattr("skinclf.reporting.training_progress.POLL_SECONDS", 0.01)
    run, printed = RunFolder(str(tmp_path)), io.StringIO()

    def epoch(number: int, loss: float) -> Epoch:
        return {"epoch": number, "loss": loss, "accuracy": 0.8, "images_per_second": math.nan}

    def history_is(found: list[Epoch], lines: int) -> None:
        run.write_history(found)
        deadline = time.monotonic() + 60
        while printed.getvalue().count("\n") < lines:
            assert time.monotonic() < deadline, printed.getvalue()
            time.sleep(0.01)

    with training_display(run, 3, Console(file=printed, width=200), lambda: None):
        history_is([epoch(1, 0.9), epoch(2, 0.8)], 2)
        history_is([epoch(1, 0.7)], 3)
        history_is([epoch(1, 0.7), epoch(2, 0.6)], 4)
    words = [line.split() for line in printed.getvalue().splitlines()]
    assert [(line[1], line[3]) for line in words] == [
        *(("1/3", "0.9000"), ("2/3", "0.8000"), ("1/3", "0.7000"), ("2/3", "0.6000"))
    ]
