"""What Spark is doing, in a line that a person understands."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pyspark.sql import SparkSession
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from skinclf.spark.job_groups import job_group
from skinclf.system.background import watching
from skinclf.system.progress_lines import tell_progress

POLL_SECONDS = 0.5
LINE_SECONDS = 15
"""Where there is no terminal, a plain line this often: logs stay short."""


@contextmanager
def spark_progress(spark: SparkSession, title: str, console: Console) -> Iterator[None]:
    """Show the tasks of the Spark jobs that run inside: a bar in a terminal, lines in a log."""
    group = f"skinclf {title} {time.monotonic_ns()}"
    show = _show_bar if console.is_terminal else _show_lines
    cancel = partial(spark.sparkContext.cancelJobGroup, group)
    with (
        job_group(spark.sparkContext, group, title),
        watching(partial(show, spark, group, title, console), cancel),
    ):
        yield


def task_counts(spark: SparkSession, group: str) -> tuple[int, int]:
    """(finished, all) tasks of the group's jobs that Spark knows of by now."""
    tracker = spark.sparkContext.statusTracker()
    finished = total = 0
    for job in tracker.getJobIdsForGroup(group):
        info = tracker.getJobInfo(job)
        for stage_id in info.stageIds if info else ():
            stage = tracker.getStageInfo(stage_id)
            if stage is not None:
                finished += stage.numCompletedTasks
                total += stage.numTasks
    return finished, total


def _show_bar(
    spark: SparkSession, group: str, title: str, console: Console, done: threading.Event
) -> None:
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tasks"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        bar = progress.add_task(title, total=None)
        while not done.wait(POLL_SECONDS):
            finished, total = task_counts(spark, group)
            progress.update(bar, completed=finished, total=total or None)


def _show_lines(
    spark: SparkSession, group: str, title: str, console: Console, done: threading.Event
) -> None:
    start = time.monotonic()
    while not done.wait(LINE_SECONDS):
        finished, total = task_counts(spark, group)
        seconds = round(time.monotonic() - start)
        line = f"{title}: {finished} of {total} tasks, {seconds} s"
        tell_progress(console, line, finished=finished, tasks=total, seconds=seconds)
