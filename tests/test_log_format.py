"""`--log-format json`: each line on stderr is an object, whatever wrote it, without secrets."""

import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from skinclf.cli.json_log import json_logging, secrets_of_environment
from skinclf.cli.terminal import wants_json
from tests.support.command import Command
from tests.support.images import jpeg, write_zip

SECRET = 'hunter2 "quoted"'

FIELDS = ("time", "level", "stage", "run", "message")


@pytest.fixture
def skinclf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def lines_of(text: str) -> list[dict[str, Any]]:
    """Every line, which has to be an object that begins with the same fields."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(tuple(line)[: len(FIELDS)] == FIELDS for line in lines)
    return lines


def explores(monkeypatch: pytest.MonkeyPatch, what: Callable[[], str]) -> None:
    """Have `skinclf explore` do something else."""
    monkeypatch.setattr("skinclf.stages.explore.explore", lambda *_: what())


def test_a_run_tells_begin_progress_counts_and_end(
    skinclf: Command, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POLL_SECONDS", "LINE_SECONDS"):
        monkeypatch.setattr(f"skinclf.spark.progress.{name}", 0.05)
    archive = write_zip(tmp_path / "a.zip", {f"a{n}.jpg": jpeg((n, 9, 9)) for n in range(20)})
    rows = [f"L{n},a{n},nv" for n in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["lesion_id,image_id,dx", *rows]))
    given = ["--archive", str(archive), "--metadata", str(tmp_path / "rows.csv")]
    output = str(tmp_path / "dataset")
    done = skinclf("prepare", *given, "--output", output, "--json", "--log-format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tensors"] == 20
    assert done.stdout.count("\n") == 1  # where spark-submit mixes it with the log
    first, *middle, last = lines_of(done.stderr)
    assert (first["event"], first["stage"], first["run"]) == ("begin", "prepare", output)
    assert (last["event"], last["exit_status"], last["level"]) == ("end", 0, "INFO")
    assert last["seconds"] > 0
    assert any(line.get("event") == "progress" and "tasks" in line["counts"] for line in middle)
    (wrote,) = (line for line in middle if line["message"].startswith("wrote "))
    assert wrote["counts"] == {"tensors": 20, "rejects": 0, "inputs": 20}
    assert wrote["level"] == "INFO"


def test_whatever_is_written_to_stderr_is_json_and_no_secret_is_in_it(
    skinclf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk() -> str:
        logging.getLogger("another.library").warning("with %s", SECRET)
        warnings.warn(f"of Python {SECRET}", stacklevel=1)
        os.write(2, f"native \x1b[31m {SECRET}\n".encode())
        jvm = {"level": "ERROR", "logger": "org.apache", "message": "gone", "traceback": "at X"}
        os.write(2, json.dumps(jvm).encode() + b"\n")
        logging.getLogger("skinclf").info("s3://key:word@bucket/a", extra={"counts": {"x": 1e999}})
        os.write(2, b'403 for "https://host/a?sv=2&sig=abcdef", C:\\temp, s3a://bucket:9000\n')
        return "page"

    explores(monkeypatch, talk)
    token = ("--set", f"spark.conf.my.token={SECRET}")
    done = skinclf("explore", *token, "--log-format=json")
    assert (done.returncode, done.stdout) == (0, "page\n")
    assert "hunter2" not in done.stderr
    lines = {line["message"]: line for line in lines_of(done.stderr)}
    assert lines["with ***"]["level"] == "WARNING"
    assert any("of Python ***" in message for message in lines)
    assert lines["native \x1b[31m ***"]["logger"] == "stderr"
    assert "\x1b" not in done.stderr
    assert (lines["gone"]["level"], lines["gone"]["traceback"]) == ("ERROR", "at X")
    assert lines["s3://***@bucket/a"]["counts"] == {"x": None}
    assert '403 for "https://host/a?sv=2&sig=***", C:\\temp, s3a://***@' in lines


def test_what_ends_a_command_is_an_error_with_its_cause(
    skinclf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINCLF_LOG_FORMAT", "json")
    wrong = skinclf("explore", "--nope")
    assert wrong.returncode == 2
    error, end = lines_of(wrong.stderr)
    assert (error["level"], error["message"]) == ("ERROR", "No such option: --nope")
    assert (end["event"], end["exit_status"]) == ("end", 2)
    assert lines_of(skinclf("train", "--set", "train.epoch=3").stderr)[0]["message"].startswith(
        "--set train.epoch: there is no such setting"
    )
    explores(monkeypatch, lambda: str(1 / 0))
    failed = skinclf("explore")
    assert failed.returncode == 1
    error = lines_of(failed.stderr)[-2]
    assert error["message"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in error["traceback"]


def test_help_is_still_for_people(skinclf: Command) -> None:
    done = skinclf("train", "--help", "--log-format", "json")
    assert done.returncode == 0
    assert "--log-format" in done.stdout


def test_another_format_is_refused(skinclf: Command) -> None:
    done = skinclf("train", "--log-format", "xml")
    assert done.returncode == 2
    assert "'xml'" in done.stderr


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not wants_json(["train"])
    assert wants_json(["train", "--log-format", "json"])
    monkeypatch.setenv("SKINCLF_LOG_FORMAT", "json")
    assert wants_json(["train"])
    assert not wants_json(["train", "--log-format", "text"])
    assert not wants_json(["train", "--log-format=text"])


def test_secrets_of_the_environment_are_known_by_their_names() -> None:
    environment = {
        "AWS_SECRET_ACCESS_KEY": "0123456789",
        "MLFLOW_TRACKING_TOKEN": "abcdefghij",
        "TOKENIZERS_PARALLELISM": "false",  # too short to be one
        "HOME": "/home/someone",
        "PWD": "/srv/clinic/lesions",
        "OLDPWD": "/srv/clinic",
    }
    assert set(secrets_of_environment(environment)) == {"0123456789", "abcdefghij"}


SIGNALLED = """
import os, signal, sys
from skinclf import cli

class Finder:
    def find_spec(name, *_):
        if name == "skinclf.cli.commands":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
sys.argv = ["skinclf", "explore", "--log-format", "json"]
cli.main()
"""


def test_ctrl_c_while_the_command_is_imported_prints_no_trace() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("log", ["/dev/full", None])
def test_a_log_that_cannot_be_written_ends_no_command(form: str, log: str | None) -> None:
    """None: a pipe that nobody reads."""
    command = [sys.executable, "-m", "skinclf", "compare", "--log-format", form, "no-run"]
    if log:
        writing = os.open(log, os.O_WRONLY)
    else:
        reading, writing = os.pipe()
        os.close(reading)
    try:
        assert subprocess.run(command, stderr=writing, timeout=120, check=False).returncode == 2
    finally:
        os.close(writing)


def test_a_line_of_another_logger_may_have_any_level(capsys: pytest.CaptureFixture[str]) -> None:
    with json_logging("prepare") as log:
        log.foreign('{"level": ["odd"], "message": "from elsewhere"}')
        log.foreign("[" * 60_000)
    first, second = lines_of(capsys.readouterr().err)
    assert (first["level"], first["message"]) == ("WARNING", "from elsewhere")
    assert second["message"].startswith("[[[")


def test_a_log_line_of_ours_that_is_wrong_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with json_logging("prepare"):
        logging.getLogger("skinclf").info("%d files", "x")
    assert "--- Logging error ---" in capsys.readouterr().err


def test_a_bar_and_the_lines_above_it_end_no_job_where_they_cannot_be_shown() -> None:
    """While rich shows a bar, sys.stderr is its own."""
    code = """
import logging
from rich.progress import Progress
from skinclf.cli.terminal import log_to_terminal, terminal
log_to_terminal()
with Progress(console=terminal) as bar:
    bar.advance(bar.add_task("score"))
    logging.getLogger("skinclf").warning("a line")
print("done")
"""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=full,
            env=os.environ | {"FORCE_COLOR": "1"},
            check=False,
        )
    assert done.stdout == b"done\n"
