"""Validated (imported by DagBag of Airflow 3.3), not run: prepare → train → evaluate → score.

A stage that ends with status 75, or is interrupted, is tried again; it resumes. `evaluate` ends
with status 3 where the model misses `evaluate.gates`: then the run fails, and nothing is scored.
docs/reference/exit-statuses.md has all of them.

The worker needs spark-submit and the checkout; both may be another host's, by SSHOperator.
"""

import subprocess
from datetime import timedelta

from airflow.sdk import chain, dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

CHECKOUT = "/opt/repository"
MASTER = "spark://HOST:7077"
# Later ones win.
CONFIGS = [f"{CHECKOUT}/conf/{name}.toml" for name in ("augmented", "cluster")]

STAGES = {
    "prepare": ("--archive", "/shared/archive", "--metadata", "/shared/metadata.csv"),
    "train": (),
    "evaluate": ("--set", "evaluate.gates.balanced_accuracy=0.6"),
    "score": ("--archive", "/shared/new"),
}
"""Stage → its own options."""

LATER = {75: "storage or cluster failed", 130: "interrupted", 143: "interrupted"}
"""Exit statuses that another try may mend."""


def command(stage: str) -> list[str]:
    """The words of a stage's command."""
    return [
        *("spark-submit", "--master", MASTER),
        *("--properties-file", f"{CHECKOUT}/conf/spark-defaults.conf"),
        *(f"{CHECKOUT}/jobs/{stage}.py", "--log-format", "json"),
        *(word for config in CONFIGS for word in ("--config", config)),
        *STAGES[stage],
    ]


@task(retries=3, retry_delay=timedelta(minutes=10))
def run(stage: str) -> None:
    """Run a stage. Raises what Airflow tries again, or not, by its exit status."""
    with subprocess.Popen(command(stage)) as process:
        try:
            status = process.wait()
        except BaseException:  # the task is killed: so is what it started, gently
            process.terminate()
            raise
    if status in LATER:
        raise AirflowException(f"{stage}: exit status {status} ({LATER[status]})")
    if status:
        raise AirflowFailException(f"{stage}: exit status {status}; the log says why")


@dag(schedule=None, catchup=False, max_active_runs=1, tags=["skinclf"])
def skinclf() -> None:
    """The stages, one after another."""
    chain(*(run.override(task_id=stage)(stage) for stage in STAGES))


skinclf()
