"""The state of a training as bytes."""

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from skinclf.errors import DamagedCheckpoint, RunError
from skinclf.training.checkpoints import Position, read_checkpoint, restore, take_checkpoint


def test_more_than_a_thousand_arrays_keep_their_order() -> None:
    weights = [np.float32(n) for n in range(1_001)]
    variables = [SimpleNamespace(numpy=lambda n=n: np.float32(n)) for n in range(2_005)]
    model: Any = SimpleNamespace(get_weights=lambda: weights)
    optimizer: Any = SimpleNamespace(variables=variables)
    found = read_checkpoint(take_checkpoint(Position([], 0, [], 0.0), model, optimizer))
    assert [int(array) for array in found.model] == list(range(1_001))
    assert [int(array) for array in found.optimizer] == list(range(2_005))


def test_any_bit_that_flips_is_damage_or_harmless() -> None:
    """Never another error, with which a training would not go on from the checkpoint before."""
    model: Any = SimpleNamespace(get_weights=lambda: [np.arange(8.0), np.arange(4.0)])
    optimizer: Any = SimpleNamespace(variables=[])
    whole = take_checkpoint(Position([], 0, [], 0.0), model, optimizer)
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        try:
            found = read_checkpoint(bytes(flipped))
        except DamagedCheckpoint:
            continue
        assert [array.shape for array in found.model] == [(8,), (4,)]


def test_a_checkpoint_of_another_network_is_refused() -> None:
    def trained(units: int) -> tuple[keras.Model, keras.optimizers.Optimizer]:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
        optimizer = keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
        return model, optimizer

    checkpoint = read_checkpoint(take_checkpoint(Position([], 0, [], 0.0), *trained(2)))
    restore(checkpoint, *trained(2))
    with pytest.raises(RunError, match="of another network or optimizer"):
        restore(checkpoint, *trained(4))
