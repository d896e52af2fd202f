"""The `skinclf` command in this process: without a new interpreter and its imports."""

import logging
import sys
from typing import NamedTuple

import pytest

from skinclf import cli


class Done(NamedTuple):
    """What a command left behind, under the names of subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str


class Command:
    """Calls the command line's `main` as the console script does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> Done:
        logger = logging.getLogger("skinclf")
        handlers, level = list(logger.handlers), logger.level
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["skinclf", *arguments])
            try:
                cli.main()
                status = 0
            except SystemExit as ended:
                status = int(ended.code or 0)
                assert status, "what runs scripts in its own Python takes SystemExit for an error"
        logger.handlers[:] = handlers  # the command sets logging up for its process
        logger.setLevel(level)
        captured = self._capsys.readouterr()
        return Done(status, captured.out, captured.err)
