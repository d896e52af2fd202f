"""What a command would do, for `--dry-run`."""

from collections.abc import Sequence
from dataclasses import dataclass

from skinclf.config.schema import SparkConfig
from skinclf.system.spark_submit import under_spark_submit
from skinclf.system.uris import without_secrets


@dataclass(frozen=True)
class Preview:
    """Paths that a command would read and write, and what it would start."""

    reads: Sequence[str]
    writes: Sequence[str]
    starts: Sequence[str]


def session_text(config: SparkConfig) -> str:
    """The Spark session that a command would start, in words."""
    if under_spark_submit():
        return "a Spark session of spark-submit's master"
    return (
        f"a Spark session on {without_secrets(config.master)}, {config.driver_memory} for its JVM"
    )
