"""The epochs of a training, and what follows from them. Reads and writes no files."""

from collections.abc import Sequence

from skinclf.config import TrainConfig

Epoch = dict[str, float]
"""One line of history.jsonl: `epoch` (from 1), `loss`, `accuracy`, `binary_accuracy`,
`balanced_accuracy`, the same of the validation split as `val_…`, `learning_rate`, `seconds`,
`images_per_second`."""


def best_epoch(history: Sequence[Epoch], metric: str) -> int:
    """The epoch with the lowest loss, or the highest of any other metric; the first of equals."""
    sign = 1 if metric.endswith("loss") else -1
    return int(min(history, key=lambda row: sign * row.get(metric, 0.0))["epoch"])


def is_over(history: Sequence[Epoch], config: TrainConfig) -> bool:
    """Whether no epoch is to follow: all are there, or too many have passed since the best."""
    if len(history) >= config.epochs:
        return True
    if not (config.early_stopping and history):
        return False
    return len(history) - best_epoch(history, config.best_metric) >= config.early_stopping


def final_epoch(history: Sequence[Epoch], config: TrainConfig) -> int:
    """The epoch whose weights the model gets."""
    if config.final_weights == "best":
        return best_epoch(history, config.best_metric)
    return len(history)
