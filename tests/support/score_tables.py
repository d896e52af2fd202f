"""What a table of scores holds, jobs that end on the way to it, and Delta for the Spark at hand."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyspark
import pytest
from pyspark.sql import DataFrame

from tests.support.repository import REPOSITORY

DELTA_JARS = REPOSITORY / ".tools" / f"delta-{pyspark.__version__}"


def delta_settings() -> dict[str, str]:
    """The settings of a session with Delta; skips the test where there is none for this Spark."""
    jars = sorted(map(str, DELTA_JARS.glob("*.jar")))
    if not jars:
        pytest.skip(f"needs Delta for Spark {pyspark.__version__}: make .tools/{DELTA_JARS.name}")
    return {
        "spark.jars": ",".join(jars),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.databricks.delta.snapshotPartitions": "1",  # 50 tasks for each commit otherwise
    }


class Ended(BaseException):
    """In place of a kill: no job handles it."""


def rows(scores: DataFrame | pa.Table) -> list[tuple[Any, ...]]:
    """All rows, sorted, without the column that only a copy has."""
    if isinstance(scores, DataFrame):
        return sorted(map(tuple, scores.drop("part").collect()))
    return sorted(tuple(row.values()) for row in scores.to_pylist())


def end() -> None:
    """Raise Ended."""
    raise Ended


def end_after(
    patch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    times: int,
    ending: Callable[[], None] = end,
) -> None:
    """End the job once a function of `place` has been carried out so many times."""
    step: Callable[..., Any] = getattr(place, name)
    left = [times]

    def taken(*arguments: Any, **options: Any) -> Any:
        found = step(*arguments, **options)
        left[0] -= 1
        if not left[0]:
            ending()
        return found

    patch.setattr(place, name, taken)
