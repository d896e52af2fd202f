"""The state of a training as bytes."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from skinclf.training.checkpoints import Position, read_checkpoint, take_checkpoint


def test_more_than_a_thousand_arrays_keep_their_order() -> None:
    weights = [np.float32(n) for n in range(1_001)]
    variables = [SimpleNamespace(numpy=lambda n=n: np.float32(n)) for n in range(2_005)]
    model: Any = SimpleNamespace(get_weights=lambda: weights)
    optimizer: Any = SimpleNamespace(variables=variables)
    found = read_checkpoint(take_checkpoint(Position([], 0, [], 0.0), model, optimizer))
    assert [int(array) for array in found.model] == list(range(1_001))
    assert [int(array) for array in found.optimizer] == list(range(2_005))
