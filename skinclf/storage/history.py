"""The epochs of a training, and what follows from them. Reads and writes no files."""

import math
from collections.abc import Sequence

from skinclf.config.schema import TrainConfig
from skinclf.errors import ConfigError
from skinclf.spec.taxonomy import Taxonomy

Epoch = dict[str, float]
"""One line of history.jsonl: `epoch` (from 1), `loss`, `accuracy`, `binary_accuracy`,
`balanced_accuracy`, the same of the validation split as `val_…` with the shares that are predicted
as each class (`val_predicted_nv`), `learning_rate`, `seconds`, `images_per_second`."""


def best_epoch(history: Sequence[Epoch], metric: str) -> int | None:
    """The epoch with the lowest loss, or the highest of any other metric; the first of equals.

    An epoch that lacks the metric, or has nan for it, is never the best: None where all are such.
    """
    sign = 1 if metric.endswith("loss") else -1
    known = [row for row in history if not math.isnan(row.get(metric, math.nan))]
    return int(min(known, key=lambda row: sign * row[metric])["epoch"]) if known else None


def check_best_is_known(config: TrainConfig, *, has_validation: bool) -> None:
    """Raise ConfigError if the best epoch is asked for and there is no validation split."""
    asked = {
        "train.early_stopping_patience": config.early_stopping_patience > 0,
        'train.final_weights = "best"': config.final_weights == "best",
    }
    names = " and ".join(name for name, is_asked in asked.items() if is_asked)
    if names and not has_validation:
        raise ConfigError(
            f"{names}: the best epoch is chosen by {config.monitor}, and the dataset has no "
            f"validation images. Prepare one with split.val above 0, or train without"
        )


def is_over(history: Sequence[Epoch], config: TrainConfig) -> bool:
    """Whether no epoch is to follow: all are there, or too many have passed since the best."""
    if len(history) >= config.epochs:
        return True
    if not (config.early_stopping_patience and history):
        return False
    return (
        len(history) - (best_epoch(history, config.monitor) or 0) >= config.early_stopping_patience
    )


def final_epoch(history: Sequence[Epoch], config: TrainConfig) -> int:
    """The epoch whose weights the model gets: the last, too, where no epoch is the best."""
    best = best_epoch(history, config.monitor) if config.final_weights == "best" else None
    return best or len(history)


def validation_shares(
    history: Sequence[Epoch], config: TrainConfig, taxonomy: Taxonomy
) -> dict[str, float]:
    """Class → the share of the validation images that the finished model predicts as it.

    Empty where there is no validation split, or an earlier version of skinclf trained.
    """
    row = history[final_epoch(history, config) - 1]
    names = {code: f"val_predicted_{code}" for code in taxonomy.codes}
    return {code: row[name] for code, name in names.items() if name in row}
