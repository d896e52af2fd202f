"""Runs in MLflow: parameters, metrics by epoch, model and report. Only where it is asked for."""

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from skinclf.config import Config
from skinclf.errors import ConfigError
from skinclf.history import Epoch
from skinclf.run_folder import read_history
from skinclf.storage import exists, join, read_bytes, read_text, write_text
from skinclf.watching import retried, watching

FILE = "mlflow.json"
POLL_SECONDS = 2.0

log = logging.getLogger(__name__)


class Tracking:
    """One run of ours as a run in MLflow, found again by mlflow.json in the run folder.

    What can't be told to the server while training runs is a warning, never the end of training:
    `epochs` makes up for it the next time.
    """

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self._run_id = run_id

    @classmethod
    def of_run(cls, config: Config, run: str) -> Self | None:
        """Begin or go on tracking the run; None where mlflow.tracking_uri is empty.

        Raises ConfigError where the client is not installed or the server does not answer.
        """
        if not config.mlflow.tracking_uri:
            return None
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError:
            raise ConfigError(
                "mlflow.tracking_uri: needs the MLflow client: pip install 'skinclf[mlflow]'"
            ) from None
        try:
            client = MlflowClient(config.mlflow.tracking_uri)
            stored = join(run, FILE)
            if exists(stored):
                return cls(client, json.loads(read_text(stored))["run_id"])
            name = config.mlflow.experiment
            experiment = client.get_experiment_by_name(name)
            place = experiment.experiment_id if experiment else client.create_experiment(name)
            created = client.create_run(place, run_name=run.rstrip("/").rpartition("/")[2])
            for key, value in config.learned.items():
                client.log_param(created.info.run_id, key, value)
        except MlflowException as error:
            raise ConfigError(f"mlflow.tracking_uri: MLflow says: {error}") from None
        write_text(stored, json.dumps({"run_id": created.info.run_id}))
        return cls(client, created.info.run_id)

    def epochs(self, history: list[Epoch]) -> None:
        """Tell of the epochs that MLflow does not know yet."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        try:
            known = {m.step for m in self._client.get_metric_history(self._run_id, "loss")}
            metrics = [
                Metric(name, value, now, int(row["epoch"]))
                for row in history
                if row["epoch"] not in known
                for name, value in row.items()
                if name != "epoch"
            ]
            self._client.log_batch(self._run_id, metrics=metrics)
        except MlflowException as error:
            log.warning("MLflow was not told of the last epoch: %s", error)

    def results(self, metrics: dict[str, float]) -> None:
        """Tell of figures that belong to the whole run."""
        for name, value in metrics.items():
            self._client.log_metric(self._run_id, name, value)

    def files(self, paths: list[str], place: str = "") -> None:
        """Copy files, on whatever storage they are, to `place` among the run's artifacts."""
        with tempfile.TemporaryDirectory() as copies:
            for path in paths:
                (Path(copies) / path.rpartition("/")[2]).write_bytes(read_bytes(path))
            self._client.log_artifacts(self._run_id, copies, place)

    def finish(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run_id)


@contextmanager
def epochs_tracked(
    tracking: Tracking | None, run: str, cancel: Callable[[], None]
) -> Iterator[None]:
    """Tell MLflow of the epochs of the training inside, from a thread of its own: a server that
    does not answer holds nothing up.
    """
    if tracking is None:
        yield
        return

    def follow(done: threading.Event) -> None:
        told, finished = 0, False
        while not finished:
            finished = done.wait(POLL_SECONDS)
            history = retried(partial(read_history, run), done.wait)
            if len(history) > told:
                tracking.epochs(history)
                told = len(history)

    with watching(follow, cancel):
        yield
