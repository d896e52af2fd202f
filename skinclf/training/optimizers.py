"""Optimizers and learning rate schedules by name. Imports Keras only to build one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skinclf.config.schema import TrainConfig

if TYPE_CHECKING:
    import keras


def constant(config: TrainConfig, steps: int) -> float:
    """The same rate throughout."""
    return config.learning_rate


def cosine(config: TrainConfig, steps: int) -> Any:
    """Down to 0 at the last step, after a rise from 0 in `warmup_epochs` (arXiv:1608.03983)."""
    from keras.optimizers.schedules import CosineDecay

    warmup, total = config.warmup_epochs * steps, config.epochs * steps
    if not warmup:
        return CosineDecay(config.learning_rate, total)
    peak = config.learning_rate
    return CosineDecay(0.0, total - warmup, warmup_target=peak, warmup_steps=warmup)


def adam(rate: Any, config: TrainConfig) -> "keras.optimizers.Optimizer":
    """Keras's Adam."""
    import keras

    return keras.optimizers.Adam(rate)


def adamw(rate: Any, config: TrainConfig) -> "keras.optimizers.Optimizer":
    """Adam with decoupled weight decay, of which biases and normalization have none."""
    import keras

    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


SCHEDULES: dict[str, Callable[[TrainConfig, int], Any]] = {"constant": constant, "cosine": cosine}
"""The registry: name → the settings and the steps of an epoch → learning rate or its schedule."""

OPTIMIZERS: dict[str, Callable[[Any, TrainConfig], "keras.optimizers.Optimizer"]] = {
    "adam": adam,
    "adamw": adamw,
}
"""The registry: name → the learning rate or its schedule and the settings → optimizer."""


def make_optimizer(config: TrainConfig, steps: int) -> "keras.optimizers.Optimizer":
    """The optimizer that `config` names, for epochs of so many steps."""
    return OPTIMIZERS[config.optimizer](SCHEDULES[config.lr_schedule](config, steps), config)
