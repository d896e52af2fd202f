import io

import pytest
from rich.console import Console

from skinclf.reporting.training_progress import Forecast, Lines, describe, in_words
from skinclf.storage.attempt import Heartbeat

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
