"""Runs in MLflow: parameters, metrics by epoch, model and report. Only where it is asked for."""

import hashlib
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from skinclf.config.schema import Config
from skinclf.errors import ConfigError
from skinclf.reporting.results import read_result
from skinclf.storage.evaluation_folder import EvaluationFolder
from skinclf.storage.files import absolute, exists, name_of, read_bytes, read_json, write_json
from skinclf.storage.history import Epoch
from skinclf.storage.run_folder import RunFolder
from skinclf.system.background import watching
from skinclf.system.retrying import LONG_PAUSES, retried
from skinclf.system.uris import without_password, without_secrets

POLL_SECONDS = 2.0

PYFUNC = "model"
"""Where the model is among the run's artifacts: runs:/ID/model."""

IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; MLflow's own 120
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own 7 wait for four minutes in all
}
"""A job waits for at most half a minute for a server that is gone, unless the user's environment
says otherwise: what is missing is sent the next time."""

log = logging.getLogger(__name__)


class Tracking:
    """One run of ours as a run in MLflow, found again by mlflow.json in the run folder.

    That file also says which files MLflow has, by their SHA-256, and of which folder and server:
    of a copy of the folder MLflow gets a run of its own. What the server can't be told is a
    warning, never the end of a job: the next command that tracks the run sends it.
    """

    def __init__(self, client: Any, run: RunFolder) -> None:
        self._client, self._run = client, run
        self._stored = read_json(run.tracking)
        self._run_id: str = self._stored["run_id"]
        self._uploaded: dict[str, str] = self._stored.setdefault("uploaded", {})

    @classmethod
    def of_run(cls, config: Config, run: RunFolder) -> Self | None:
        """Begin or continue to track the run; None where mlflow.tracking_uri is empty.

        Raises ConfigError where the client is not installed or the server, which has to begin
        the run, does not answer.
        """
        if not config.mlflow.tracking_uri:
            return None
        for key, value in IMPATIENT.items():
            os.environ.setdefault(key, value)
        check_client(config)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            client = MlflowClient(config.mlflow.tracking_uri)
            _find_or_begin(client, config, run)
        except MlflowException as error:
            raise ConfigError(
                f"mlflow.tracking_uri: MLflow says: {without_secrets(str(error))}"
            ) from None
        return cls(client, run)

    def epochs(self, history: list[Epoch]) -> None:
        """Send the epochs that MLflow does not know yet."""
        try:
            self._send_epochs(history)
        except Exception as error:  # each of MLflow's stores raises what its own client does
            log.warning("MLflow did not get the last epoch: %s", without_secrets(str(error)))

    def send(self) -> None:
        """Send whatever the run folder holds and MLflow lacks; a finished run is marked so."""
        try:
            self._send_epochs(self._run.read_history())
            run = self._run
            for file in (run.config, run.history, run.labels, run.model, run.card):
                self._upload(file)
            for evaluation in run.evaluations():
                self._send_evaluation(evaluation)
            if run.is_finished:
                self._send_model()
                self._client.set_terminated(self._run_id)
        except Exception as error:  # as in `epochs`
            log.warning(
                "MLflow does not have all of %s: %s. The next train or evaluate of this run sends "
                "what is missing",
                self._run,
                without_secrets(str(error)),
            )

    def _send_epochs(self, history: list[Epoch]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        known = {m.step for m in self._client.get_metric_history(self._run_id, "loss")}
        metrics = [
            Metric(name, value, now, int(row["epoch"]))
            for row in history
            if row["epoch"] not in known
            for name, value in row.items()
            if name != "epoch"
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _send_evaluation(self, folder: EvaluationFolder) -> None:
        """Send an evaluation's metrics and pages, where they have changed."""
        name = folder.name
        place = f"evaluation/{name}"
        for page in (folder.report, folder.picture("confusion")):
            self._upload(page, place)
        # What is noted as sent has its metrics there, too.
        if self._unsent(folder.metrics, place) is not None:
            for key, value in read_result(folder.metrics).model.items():
                self._client.log_metric(self._run_id, f"{metric_name(name)}_{key}", value)
            self._upload(folder.metrics, place)

    def _send_model(self) -> None:
        """Send the model as one that MLflow can load, unless MLflow has it, deciding as now."""
        decision = self._run.decision
        content = read_bytes(decision) if exists(decision) else b""
        digest = hashlib.sha256(self._run.read_model() + content).hexdigest()
        if self._uploaded.get(f"{PYFUNC}/") == digest:
            return
        from skinclf.reporting.mlflow_model import save_model

        with tempfile.TemporaryDirectory() as folder:
            saved = str(Path(folder) / PYFUNC)
            save_model(self._run, saved)
            self._client.log_artifacts(self._run_id, saved, PYFUNC)
        self._remember(f"{PYFUNC}/", digest)

    def _upload(self, path: str, place: str = "") -> None:
        """Copy a file, on whatever storage it is, to `place` among the run's artifacts unless it
        is there.
        """
        content, name = self._unsent(path, place), name_of(path)
        if content is None:
            return
        with tempfile.TemporaryDirectory() as copies:
            copy = Path(copies) / name
            copy.write_bytes(content)
            self._client.log_artifact(self._run_id, str(copy), place or None)
        self._remember(f"{place}/{name}", hashlib.sha256(content).hexdigest())

    def _unsent(self, path: str, place: str) -> bytes | None:
        """The content of a file; None where there is none, or MLflow has it as it is."""
        content = read_bytes(path) if exists(path) else None
        if content is None:
            return None
        is_sent = self._uploaded.get(f"{place}/{name_of(path)}")
        return None if is_sent == hashlib.sha256(content).hexdigest() else content

    def _remember(self, artifact: str, digest: str) -> None:
        """Note in mlflow.json that MLflow has an artifact."""
        self._uploaded[artifact] = digest
        write_json(self._run.tracking, self._stored)


def check_client(config: Config) -> None:
    """Raise ConfigError where the run is to be tracked and MLflow's client is not installed."""
    if config.mlflow.tracking_uri and find_spec("mlflow") is None:
        raise ConfigError(
            "mlflow.tracking_uri: needs the MLflow client: pip install 'skinclf[mlflow]'"
        )


def metric_name(name: str) -> str:
    """The name of a set as MLflow allows it in a metric's: a CSV file may be named otherwise."""
    return re.sub(r"[^A-Za-z0-9_. -]", "-", name)


def _find_or_begin(client: Any, config: Config, run: RunFolder) -> None:
    """Have mlflow.json begin with the MLflow run of this folder on this server. Those of others,
    such as the folder that this one is a copy of, stay in it as `others`.
    """
    server = without_password(config.mlflow.tracking_uri).rstrip("/")
    owner = {"folder": absolute(run.path), "server": server}
    known = []
    if exists(run.tracking):
        stored = read_json(run.tracking)
        others = stored.pop("others", [])
        # Of an earlier version it has no owner: it belongs to the first folder that asks.
        known = [{"owner": owner} | stored, *others]
    own = next((each for each in known if each["owner"] == owner), None)
    if own is None:
        own = {"run_id": _begin(client, config, run), "owner": owner}
        if known:
            log.info(
                "%s: MLflow gets a new run; that of %s stays", run, known[0]["owner"]["folder"]
            )
    rest = [each for each in known if each is not own]
    write_json(run.tracking, {**own, "others": rest})


def _begin(client: Any, config: Config, run: RunFolder) -> str:
    """Make a run in MLflow, with the settings as its parameters; returns its id."""
    from mlflow.entities import Param

    name = config.mlflow.experiment
    experiment = client.get_experiment_by_name(name)
    place = experiment.experiment_id if experiment else client.create_experiment(name)
    run_id = str(client.create_run(place, run_name=run.name).info.run_id)
    # Those that it was trained with: another command may have been given others.
    settings = run.read_config().hyperparameters
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in settings.items()])
    return run_id


def send_to_mlflow(config: Config, run: RunFolder) -> None:
    """At the end of a job: have MLflow know all of the run, where it is tracked."""
    try:
        tracking = Tracking.of_run(config, run)
    except ConfigError as error:  # the job has done its work
        log.warning("%s", error)
        return
    if tracking:
        tracking.send()


@contextmanager
def epochs_tracked(
    tracking: Tracking | None, run: RunFolder, cancel: Callable[[], None]
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
            history = retried(run.read_history, run.path, done.wait, LONG_PAUSES)
            if len(history) > told:
                tracking.epochs(history)
                told = len(history)

    with watching(follow, cancel):
        yield
