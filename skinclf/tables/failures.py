"""Why a Spark job failed, in one line out of its pages."""

import re

OURS = "skinclf.errors."
TELLING = re.compile(
    r"ExecutorLostFailure|Python worker exited|^[\w.]+(Error|Exception): |cancelled"
)
SAYS_NOTHING = ("org.apache.spark.SparkException: Job aborted", "py4j.")


def own_error(message: str) -> str:
    """The error of ours that a task raised, as `Name: message`; "" where it was another."""
    lines = (line.strip() for line in message.splitlines())
    return next((line.removeprefix(OURS) for line in lines if line.startswith(OURS)), "")


def root_cause(message: str) -> str:
    """The line of Spark's account of a failed job that tells most."""
    lines = [line.strip().lstrip(": ") for line in message.splitlines() if line.strip()]
    lines = [line.removeprefix("Caused by: ") for line in lines]
    causes = [line for line in lines if TELLING.search(line) and not line.startswith(SAYS_NOTHING)]
    cause = (causes or lines or [""])[0].removeprefix("org.apache.spark.SparkException: ")
    return cause.partition(". Consider setting")[0]
