"""Progress that can't be shown ends no job, in Python as in a command."""

import io
import logging
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from skinclf.api.stages import _console
from skinclf.system.progress_lines import PROGRESS, tell_progress


@pytest.fixture(params=["closed", "full"])
def unwritable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = open("/dev/full", "w", buffering=1) if request.param == "full" else io.StringIO()  # noqa: SIM115
    if request.param == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)


@pytest.mark.usefixtures("unwritable")
def test_a_line_of_progress_is_lost_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, PROGRESS)
    tell_progress(_console(quiet=False), "half of it", done=1)
    assert caplog.messages == ["half of it"]


@pytest.mark.usefixtures("unwritable")
def test_a_bar_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    console: Console = _console(quiet=False)
    with Progress(console=console) as bar:
        bar.advance(bar.add_task("score"))
        console.print("a line")
