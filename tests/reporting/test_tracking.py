import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from rich.console import Console

from skinclf.config.loader import load_config, to_toml
from skinclf.errors import ConfigError
from skinclf.reporting.tracking import IMPATIENT, Tracking, metric_name, send_to_mlflow
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.taxonomy import HAM10000
from skinclf.stages.evaluate import evaluate
from skinclf.stages.train import train
from skinclf.storage.files import read_json
from skinclf.storage.run_folder import Labels, RunFolder
from tests.evaluation.drawn import drawn_predictions, evaluation_result
from tests.support.pipeline import pipeline_config

QUIET = Console(quiet=True)


def tracked_run(uri: str, experiment: str = "skinclf") -> tuple[MlflowClient, Run]:
    """The one run that MLflow has there, and the client that knows it."""
    client = MlflowClient(uri)
    place = client.get_experiment_by_name(experiment)
    assert place is not None
    (tracked,) = client.search_runs([place.experiment_id])
    return client, tracked


def test_a_run_and_its_evaluation_are_one_run_in_mlflow(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder as tracking store: the client's own, which needs no server."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri, run = (tmp_path / "mlruns").as_uri(), tmp_path / "run"
    config = pipeline_config(
        trained, "model.name=tiny", f"run.path={run}", f"mlflow.tracking_uri={uri}"
    )
    train(config, QUIET)
    evaluate(config, QUIET)

    client, tracked = tracked_run(uri)
    assert tracked.data.params["train.learning_rate"] == "0.001"
    losses = client.get_metric_history(tracked.info.run_id, "val_loss")
    assert sorted(metric.step for metric in losses) == [1, 2]
    assert 0 <= tracked.data.metrics["test_balanced_accuracy"] <= 1
    files = {file.path for file in client.list_artifacts(tracked.info.run_id)}
    assert files == {
        *("config.toml", "history.jsonl", "labels.json"),
        *("model.keras", "model_card.md", "evaluation", "model"),
    }
    files = {file.path for file in client.list_artifacts(tracked.info.run_id, "evaluation/test")}
    assert "evaluation/test/report.html" in files


def test_a_run_that_is_tracked_later_has_the_settings_that_it_was_trained_with(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    run = RunFolder(str(shutil.copytree(trained / "run", tmp_path / "run")))
    given = (f"mlflow.tracking_uri={uri}", "mlflow.experiment=a clinic")
    others = pipeline_config(trained, "train.learning_rate=0.5", *given)
    send_to_mlflow(others, run)
    _, tracked = tracked_run(uri, "a clinic")
    assert tracked.data.params["train.learning_rate"] == "0.001"


def test_a_copy_of_a_run_leaves_the_original_s_model_in_mlflow_alone(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the one that is deployed would decide by weights that somebody tries on the copy."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    config = pipeline_config(trained, f"mlflow.tracking_uri={uri}")
    run = RunFolder(str(shutil.copytree(trained / "run", tmp_path / "run")))
    send_to_mlflow(config, run)
    client, tracked = tracked_run(uri)
    copied = RunFolder(str(shutil.copytree(run.path, tmp_path / "copy")))
    for each in (copied, copied, run):  # a second time it is found again
        send_to_mlflow(config, each)
    runs = client.search_runs([tracked.info.experiment_id])
    assert sorted(str(each.info.run_name) for each in runs) == ["copy", "run"]
    assert read_json(run.tracking)["run_id"] == tracked.info.run_id

    # Another server; then the first one again, whose run is known.
    elsewhere = pipeline_config(trained, f"mlflow.tracking_uri={(tmp_path / 'other').as_uri()}")
    for settings in (elsewhere, config):
        send_to_mlflow(settings, run)
    assert read_json(run.tracking)["run_id"] == tracked.info.run_id
    assert len(client.search_runs([tracked.info.experiment_id])) == 2


def test_a_file_of_an_earlier_version_belongs_to_the_first_folder_that_asks(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    config = pipeline_config(trained, f"mlflow.tracking_uri={(tmp_path / 'mlruns').as_uri()}")
    run = RunFolder(str(shutil.copytree(trained / "run", tmp_path / "run")))
    send_to_mlflow(config, run)
    stored = read_json(run.tracking)
    del stored["owner"], stored["others"]
    Path(run.tracking).write_text(json.dumps(stored))
    send_to_mlflow(config, run)
    assert read_json(run.tracking)["run_id"] == stored["run_id"]
    copied = RunFolder(str(shutil.copytree(run.path, tmp_path / "copy")))
    send_to_mlflow(config, copied)
    assert read_json(copied.tracking)["run_id"] != stored["run_id"]


def test_a_set_is_called_in_mlflow_as_it_allows() -> None:
    assert metric_name("GroundTruth (1), final+new") == "GroundTruth -1-- final-new"


def test_a_tracked_run_that_goes_on_tells_each_epoch_once(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri, run = (tmp_path / "mlruns").as_uri(), tmp_path / "run"
    settings = (
        f"run.path={run}",
        f"mlflow.tracking_uri={uri}",
        "train.epochs=3",
        "model.name=tiny",
    )
    train(pipeline_config(trained, *settings), QUIET)
    (run / "model.keras").unlink()
    for checkpoint in (run / "checkpoints").glob("epoch-0003-*"):
        checkpoint.unlink()
    shutil.rmtree(run / "figures")
    train(pipeline_config(trained, *settings), QUIET)
    client, tracked = tracked_run(uri)
    losses = client.get_metric_history(tracked.info.run_id, "loss")
    assert sorted(metric.step for metric in losses) == [1, 2, 3]


def test_a_store_that_can_t_be_used_is_refused_before_training(
    trained: Path, tmp_path: Path
) -> None:
    config = pipeline_config(
        trained, f"run.path={tmp_path / 'run'}", "mlflow.tracking_uri=nosuch://place"
    )
    with pytest.raises(ConfigError, match=r"mlflow\.tracking_uri: MLflow says"):
        train(config, QUIET)


def test_a_client_that_is_not_installed_is_told_before_the_run_begins(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    run = tmp_path / "run"
    config = pipeline_config(prepared, f"run.path={run}", "mlflow.tracking_uri=http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"pip install 'skinclf\[mlflow\]'"):
        train(config, QUIET)
    assert not run.exists()


class Server:
    """What the client asks of a tracking server, which may be `dead`."""

    def __init__(self) -> None:
        self.dead = False
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., list[object]]:
        def call(_run_id: str, *arguments: str, **_named: object) -> list[object]:
            if self.dead:
                raise MlflowException("connection refused")
            self.told.append(f"{name} {Path(arguments[0]).name}" if arguments else name)
            return []

        return call

    def files(self) -> list[str]:
        return sorted(call.split()[1] for call in self.told if call.startswith("log_artifact "))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with one evaluation, which MLflow has begun to track."""
    (tmp_path / "evaluation" / "test").mkdir(parents=True)
    for name in ("config.toml", "model_card.md"):
        (tmp_path / name).write_text(name)
    RunFolder(str(tmp_path)).write_model(b"a model", Labels(HAM10000, BENBRAHIM_2020), 1)
    RunFolder(str(tmp_path)).write_history([{"epoch": 1.0, "loss": 0.5}])
    result = evaluation_result(drawn_predictions(20, 1))
    (tmp_path / "evaluation" / "test" / "metrics.json").write_text(result.to_json())
    (tmp_path / "mlflow.json").write_text('{"run_id": "1"}')
    return tmp_path


FILES = ["config.toml", "history.jsonl", "labels.json", "metrics.json"]
FILES += ["model.keras", "model_card.md"]


def test_what_a_dead_server_was_not_told_the_next_command_sends(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    server.dead = True
    Tracking(server, RunFolder(str(run))).epochs([{"epoch": 1.0, "loss": 0.5}])
    Tracking(server, RunFolder(str(run))).send()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "The next train or evaluate of this run sends what is missing" in caplog.text
    server.dead = False
    Tracking(server, RunFolder(str(run))).send()
    assert server.files() == FILES
    assert {"log_batch", "log_metric test_accuracy", "set_terminated"} <= set(server.told)
    assert "log_artifacts model" in server.told


def test_only_what_is_new_is_sent_again(run: Path) -> None:
    server = Server()
    Tracking(server, RunFolder(str(run))).send()
    (run / "model_card.md").write_text("with metrics")
    Tracking(server, RunFolder(str(run))).send()
    assert server.files() == sorted([*FILES, "model_card.md"])
    assert server.told.count("log_artifacts model") == 1


def test_a_server_that_is_not_there_is_told_before_training_and_a_warning_after_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Port 1 of this machine: nobody listens there."""
    for key in IMPATIENT:
        monkeypatch.delenv(key, raising=False)
    config = load_config(None, ["mlflow.tracking_uri=http://me:secret@127.0.0.1:1"])
    with pytest.raises(ConfigError, match=r"mlflow\.tracking_uri: MLflow says.*Max retries"):
        Tracking.of_run(config, RunFolder(str(tmp_path / "run")))
    assert {key: os.environ[key] for key in IMPATIENT} == IMPATIENT  # and not MLflow's four minutes
    send_to_mlflow(config, RunFolder(str(tmp_path / "run")))
    assert "mlflow.tracking_uri: MLflow says" in caplog.text
    assert "secret" not in caplog.text


def test_a_finished_run_that_is_trained_again_is_sent(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Spark starts: the server was gone when the run was finished."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri, run = (tmp_path / "mlruns").as_uri(), tmp_path / "run"
    shutil.copytree(trained / "run", run)
    train(pipeline_config(trained, f"run.path={run}", f"mlflow.tracking_uri={uri}"), QUIET)
    run_id = json.loads((run / "mlflow.json").read_text())["run_id"]
    tracked = MlflowClient(uri).get_run(run_id)
    assert tracked.info.status == "FINISHED"
    assert "model.keras" in {file.path for file in MlflowClient(uri).list_artifacts(run_id)}


def test_a_password_in_the_address_is_not_written_down() -> None:
    config = load_config(None, ["mlflow.tracking_uri=https://me:secret@mlflow.example.org/x"])
    assert "secret" not in to_toml(config)
    assert "https://mlflow.example.org/x" in to_toml(config)
    config = load_config(None, ["mlflow.tracking_uri=postgresql://server/db?password=secret"])
    assert "secret" not in to_toml(config)
