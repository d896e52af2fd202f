import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rich.console import Console

from skinclf.config_file import load_config, to_toml
from skinclf.errors import ConfigError
from skinclf.stages.evaluate import evaluate
from skinclf.stages.train import train
from tests.conftest import road_config

QUIET = Console(quiet=True)


def test_a_run_and_its_evaluation_are_one_run_in_mlflow(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder as tracking store: the client's own, which needs no server."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri, run = (tmp_path / "mlruns").as_uri(), tmp_path / "run"
    config = road_config(trained, f"run.path={run}", f"mlflow.tracking_uri={uri}")
    train(config, QUIET)
    evaluate(config, QUIET)

    client = MlflowClient(uri)
    place = client.get_experiment_by_name("skinclf")
    assert place is not None
    (tracked,) = client.search_runs([place.experiment_id])
    assert tracked.data.params["train.learning_rate"] == "0.001"
    losses = client.get_metric_history(tracked.info.run_id, "val_loss")
    assert sorted(metric.step for metric in losses) == [1, 2]
    assert 0 <= tracked.data.metrics["test_balanced_accuracy"] <= 1
    files = {file.path for file in client.list_artifacts(tracked.info.run_id)}
    assert files == {
        *("config.toml", "history.jsonl", "labels.json"),
        *("model.keras", "model_card.md", "evaluation"),
    }
    files = {file.path for file in client.list_artifacts(tracked.info.run_id, "evaluation/test")}
    assert "evaluation/test/report.html" in files


def test_a_tracked_run_that_goes_on_tells_each_epoch_once(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri, run = (tmp_path / "mlruns").as_uri(), tmp_path / "run"
    settings = (f"run.path={run}", f"mlflow.tracking_uri={uri}", "train.epochs=3")
    train(road_config(trained, *settings), QUIET)
    (run / "model.keras").unlink()
    for checkpoint in (run / "checkpoints").glob("epoch-0003-*"):
        checkpoint.unlink()
    shutil.rmtree(run / "figures")
    train(road_config(trained, *settings), QUIET)
    client = MlflowClient(uri)
    place = client.get_experiment_by_name("skinclf")
    assert place is not None
    (tracked,) = client.search_runs([place.experiment_id])
    losses = client.get_metric_history(tracked.info.run_id, "loss")
    assert sorted(metric.step for metric in losses) == [1, 2, 3]


def test_a_store_that_can_t_be_used_is_refused_before_training(
    trained: Path, tmp_path: Path
) -> None:
    config = road_config(
        trained, f"run.path={tmp_path / 'run'}", "mlflow.tracking_uri=nosuch://place"
    )
    with pytest.raises(ConfigError, match=r"mlflow\.tracking_uri: MLflow says"):
        train(config, QUIET)


def test_a_password_in_the_address_is_not_written_down() -> None:
    config = load_config(None, ["mlflow.tracking_uri=https://me:secret@mlflow.example.org/x"])
    assert "secret" not in to_toml(config)
    assert "https://mlflow.example.org/x" in to_toml(config)
