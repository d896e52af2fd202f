import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from skinclf.config.schema import Config, DatasetConfig, RunConfig, TrainConfig
from skinclf.errors import ConfigError
from skinclf.spec.taxonomy import HAM10000
from skinclf.stages.train import train
from skinclf.storage.dataset_folder import TensorFile
from skinclf.storage.files import write_text
from skinclf.storage.history import (
    Epoch,
    best_epoch,
    check_best_is_known,
    final_epoch,
    is_over,
    validation_shares,
)
from tests.support.datasets import dataset_of


def history(*val_losses: float) -> list[Epoch]:
    return [{"epoch": n, "val_loss": loss} for n, loss in enumerate(val_losses, start=1)]


def test_the_best_epoch_has_the_lowest_loss_or_the_highest_of_anything_else() -> None:
    assert best_epoch(history(3, 1, 2, 1), "val_loss") == 2
    rows: list[Epoch] = [
        {"epoch": 1, "val_accuracy": 0.5},
        {"epoch": 2, "val_accuracy": 0.7},
        {"epoch": 3, "val_accuracy": 0.7},
    ]
    assert best_epoch(rows, "val_accuracy") == 2


def test_an_epoch_without_a_number_is_never_the_best() -> None:
    assert best_epoch(history(math.nan, 3, 2, math.nan), "val_loss") == 3
    assert best_epoch(history(math.nan, math.nan), "val_loss") is None
    assert best_epoch([{"epoch": 1, "loss": 1.0}], "val_accuracy") is None
    hopeful = TrainConfig(epochs=9, early_stopping_patience=3, final_weights="best")
    assert not is_over(history(math.nan, math.nan), hopeful)
    assert is_over(history(math.nan, math.nan, math.nan), hopeful)
    assert final_epoch(history(math.nan, math.nan, math.nan), hopeful) == 3


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"early_stopping_patience": 3}, r"train\.early_stopping_patience: the best epoch"),
        ({"final_weights": "best"}, r"train\.final_weights = \"best\": the best epoch"),
    ],
)
def test_the_best_epoch_is_refused_where_there_is_no_validation_split(
    tmp_path: Path, settings: dict[str, Any], named: str
) -> None:
    """By `train`, before Spark starts and before anything is written."""
    files = [TensorFile(path="0.parquet", split="train", rows=64)]
    write_text(str(tmp_path / "dataset.json"), dataset_of(files, 1, "").to_json())
    config = Config(
        dataset=DatasetConfig(path=str(tmp_path)),
        run=RunConfig(path=str(tmp_path / "run")),
        train=TrainConfig(**settings),
    )
    with pytest.raises(ConfigError, match=f"{named} is chosen by val_loss"):
        train(config, Console(quiet=True))
    assert not (tmp_path / "run").exists()
    check_best_is_known(config.train, has_validation=True)


def test_training_is_over_after_all_epochs_or_too_many_without_a_better_one() -> None:
    patient = TrainConfig(epochs=5, early_stopping_patience=2)
    assert not is_over([], patient)
    assert not is_over(history(3, 2, 2.5), patient)
    assert is_over(history(3, 2, 2.5, 2.1), patient)
    assert is_over(history(5, 4, 3, 2, 1), patient)
    assert not is_over(history(3, 2, 2.5, 2.1), TrainConfig(epochs=5))


def test_the_model_gets_the_last_or_the_best_epoch_s_weights() -> None:
    assert final_epoch(history(3, 1, 2), TrainConfig()) == 3
    assert final_epoch(history(3, 1, 2), TrainConfig(final_weights="best")) == 2


def test_drift_is_measured_against_what_the_model_predicts_for_validation_images() -> None:
    """Not against the training set: logit adjustment predicts other shares on purpose."""
    rows = [
        row | {f"val_predicted_{code}": 1 / 7 for code in HAM10000.codes} for row in history(1, 2)
    ]
    rows[0]["val_predicted_nv"] = 0.6
    best = TrainConfig(final_weights="best")
    assert validation_shares(rows, best, HAM10000)["nv"] == 0.6
    assert validation_shares(rows, TrainConfig(), HAM10000)["nv"] == 1 / 7
    assert validation_shares(history(1, 2), best, HAM10000) == {}
