"""A training in Spark tasks, as a process of its own that a test watches and harms."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.cluster import FASTER
from tests.support.pipeline import pipeline_assignments

EPOCHS = 40
"""Enough for three restarts, with some epochs of a third of a second between them."""

HARMED = {"train.epochs": EPOCHS, "train.dropout": 0.5, "model.name": "tiny"}
"""Losses are the same for any network. What the paper's learns in several processes, and after a
loss of them, is tests/training/test_loop.py's to show."""

PATIENCE = 600
"""Seconds; far more than a loaded machine takes for anything that a test waits for."""


class Training:
    """`skinclf train` with two slots, on a Spark master, of the prepared folder's dataset."""

    def __init__(self, prepared: Path, run: Path, master: str, *more: str) -> None:
        self.run = run
        self.log = run.with_name(f"{run.name}.log")
        self.settings = [
            *pipeline_assignments(prepared),
            *(f"{key}={value}" for key, value in HARMED.items()),
            *(f"run.path={run}", f"spark.master={master}"),
            *("train.slots=2", "train.local_mode=false"),
            f"spark.conf.spark.executor.extraJavaOptions={FASTER}",
            *more,
        ]
        self.start()

    def start(self) -> None:
        words = (word for setting in self.settings for word in ("--set", setting))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["skinclf", "train", *words], stdout=log, stderr=log)

    def wait_for_epochs(self, count: int) -> None:
        self.wait_until(lambda: len(self.epochs()) >= count)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        until(lambda: condition() or self.process.poll() is not None, self.told)
        assert condition(), f"the job ended; it said:\n{self.told()}"

    def wait_for_restart(self, number: int) -> None:
        """Wait for a restart, and then for some epochs of the new attempt."""
        self.wait_until(lambda: len(self.restarts()) >= number)
        self.wait_for_epochs(min(len(self.epochs()) + 3, EPOCHS))

    def finish(self) -> int:
        until(lambda: self.process.poll() is not None, self.told)
        return self.process.returncode

    def epochs(self) -> list[int]:
        return [int(line["epoch"]) for line in self._lines("history.jsonl")]

    def told(self) -> str:
        return self.log.read_text()[-5000:]

    def restarts(self) -> list[dict[str, Any]]:
        return self._lines("restarts.jsonl")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        file = self.run / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until(
    condition: Callable[[], object], told: Callable[[], str], seconds: float = PATIENCE
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s; the job said:\n{told()}")
        time.sleep(0.3)  # each look may ask HDFS
