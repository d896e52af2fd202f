"""`python -m tests.support.table_job FOLDER FORMAT STEP`: a scoring with a table.

It kills its driver once it has carried out one of STEPS. Without a step it ends, and writes what is
in the table and what is in the folder. The catalog is Hive's, which outlives the process.
"""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from rich.console import Console

from skinclf.spark.score_table import DeltaTable, ScoreTable
from skinclf.spark.session import spark_session
from skinclf.stages.score import score_by
from skinclf.storage import score_ledger
from skinclf.storage.score_view import read_scores
from tests.support.cluster import below
from tests.support.models import Brightness
from tests.support.pipeline import pipeline_config
from tests.support.score_tables import delta_settings, end_after, rows

STEPS = {"commit": ("write_manifest", 2), "write": ("follow", 1)}
"""The second manifest is that of the first micro-batch; the table is written after it."""


def kill() -> None:
    """End this driver and its JVM, as when a machine loses power."""
    for pid in [*below(os.getpid(), "java"), os.getpid()]:
        os.kill(pid, signal.SIGKILL)


def main(folder: Path, form: str, step: str = "") -> None:
    database = f"jdbc:derby:;databaseName={folder / 'metastore'};create=true"
    conf = {
        "spark.sql.catalogImplementation": "hive",
        "spark.hadoop.javax.jdo.option.ConnectionURL": database,
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        **(delta_settings() if form == "delta" else {}),
    }
    config = pipeline_config(
        folder,
        *(f"spark.conf.{key}={value}" for key, value in conf.items()),
        *(f"score.archive={folder / 'archive'}", "score.micro_batch_images=2"),
        *("score.table=default.scores", f"score.table_format={form}"),
    )
    if step:
        name, times = STEPS[step]
        table = DeltaTable if form == "delta" else ScoreTable
        place = table if name == "follow" else score_ledger
        end_after(pytest.MonkeyPatch(), place, name, times, kill)
    with spark_session("tests", config.spark) as spark:
        summary = score_by(Brightness(), config, Console(quiet=True))
        found = {
            "table": rows(spark.table("default.scores")),
            "folder": rows(read_scores(summary.path)),
        }
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
