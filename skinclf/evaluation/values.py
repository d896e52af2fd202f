"""Arrays of figures → what JSON holds: numbers by name, None where nothing defines one."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def by_name(
    names: Sequence[str], values: NDArray[np.float64], intervals: NDArray[np.float64]
) -> dict[str, Any]:
    """(k,) values and (k, 2) intervals → name → number, and `intervals`: name → [low, high]."""
    return {
        **{name: number(value) for name, value in zip(names, values, strict=True)},
        "intervals": {
            name: [number(low), number(high)]
            for name, (low, high) in zip(names, intervals, strict=True)
        },
    }


def number(value: float) -> float | None:
    """A float, or None for nan, which JSON has not."""
    return None if math.isnan(value) else float(value)
