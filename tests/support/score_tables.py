"""What a table of scores holds, and jobs that end on the way to it."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame


class Ended(BaseException):
    """In place of a kill: no job handles it."""


def rows(scores: DataFrame | pa.Table) -> list[tuple[Any, ...]]:
    """All rows, sorted, without the column that only a copy has."""
    if isinstance(scores, DataFrame):
        return sorted(map(tuple, scores.drop("part").collect()))
    return sorted(tuple(row.values()) for row in scores.to_pylist())


def end_after(patch: pytest.MonkeyPatch, place: Any, name: str, times: int) -> None:
    """Raise Ended once a function of `place` has been carried out so many times."""
    step: Callable[..., Any] = getattr(place, name)
    left = [times]

    def taken(*arguments: Any, **options: Any) -> Any:
        found = step(*arguments, **options)
        left[0] -= 1
        if not left[0]:
            raise Ended
        return found

    patch.setattr(place, name, taken)
