"""Whether the settings name what there is, before anything is started."""

from collections.abc import Iterable

from skinclf.config.schema import Config
from skinclf.errors import ConfigError
from skinclf.training.losses import LOSSES
from skinclf.training.networks import NETWORKS
from skinclf.training.optimizers import OPTIMIZERS, SCHEDULES


def check_choices(config: Config) -> None:
    """Raise ConfigError where a setting names a network, an optimizer, a learning rate schedule or
    a loss that is in no registry.
    """
    choices: tuple[tuple[str, str, Iterable[str]], ...] = (
        ("model.name", config.model.name, NETWORKS),
        ("train.optimizer", config.train.optimizer, OPTIMIZERS),
        ("train.lr_schedule", config.train.lr_schedule, SCHEDULES),
        ("train.loss", config.train.loss, LOSSES),
    )
    for key, name, registry in choices:
        if name not in registry:
            raise ConfigError(f"{key}: there is no {name!r}; known are {', '.join(registry)}")
