"""Arrays of metrics → numbers by name, None where nothing defines one."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.result import Interval, Value


def by_name(names: Iterable[str], values: NDArray[np.float64]) -> dict[str, Value]:
    """(k,) values → name → number."""
    return {name: number(value) for name, value in zip(names, values, strict=True)}


def intervals_by_name(names: Sequence[str], limits: NDArray[np.float64]) -> dict[str, Interval]:
    """(k, 2) intervals → name → (low, high)."""
    return {
        name: (number(low), number(high)) for name, (low, high) in zip(names, limits, strict=True)
    }


def number(value: float) -> Value:
    """A float, or None for nan, which JSON does not have."""
    return None if math.isnan(value) else float(value)
