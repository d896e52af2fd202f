"""A training on a cluster, as a process of its own that a test watches and harms."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from skinclf.storage.run_folder import read_history
from tests.support.cluster import Cluster
from tests.support.pipeline import pipeline_assignments

EPOCHS = 16
"""Enough for two restarts, with an epoch of half a second between them."""

PATIENCE = 240


class Training:
    """A `skinclf train` of its own process on the cluster."""

    def __init__(self, prepared: Path, run: Path, cluster: Cluster, *more: str) -> None:
        self.run, self.cluster = run, cluster
        self.log = prepared / f"{run.parent.name}-{run.name}.log"
        self.settings = [
            *pipeline_assignments(prepared),
            *(f"run.path={run}", f"spark.master={cluster.master}", f"train.epochs={EPOCHS}"),
            *("train.slots=2", "train.local_mode=false", "train.dropout=0.5"),
            *more,
        ]
        self.start()

    def start(self) -> None:
        words = (word for setting in self.settings for word in ("--set", setting))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["skinclf", "train", *words], stdout=log, stderr=log)

    def wait_for_epochs(self, count: int) -> None:
        self.wait_until(lambda: len(read_history(str(self.run))) >= count)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        until(lambda: condition() or self.process.poll() is not None, self.told)
        assert condition(), f"the job ended; it said:\n{self.told()}"

    def finish(self) -> int:
        until(lambda: self.process.poll() is not None, self.told)
        return self.process.returncode

    def told(self) -> str:
        return self.log.read_text()[-5000:]

    def restarts(self) -> list[dict[str, object]]:
        file = self.run / "restarts.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until(condition: Callable[[], bool], told: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE} s; the job said:\n{told()}")
        time.sleep(0.1)
