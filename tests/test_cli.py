import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.repository import REPOSITORY

JOBS = ("prepare", "explore", "doctor", "train", "evaluate", "replicate", "score")


@pytest.fixture
def skinclf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.mark.parametrize("job", [*JOBS, "export"])
def test_help_tells_inputs_outputs_and_an_example(skinclf: Command, job: str) -> None:
    done = skinclf(job, "--help")
    assert done.returncode == 0
    assert "Input" in done.stdout
    assert "Output" in done.stdout
    assert f"skinclf {job}" in done.stdout


@pytest.mark.parametrize("job", JOBS)
def test_the_script_for_spark_submit_is_the_same_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], job: str
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{job}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(REPOSITORY / "jobs" / f"{job}.py"), run_name="__main__")
    assert ended.value.code == 0
    assert f"Usage: spark-submit {job}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["train", "--set", "train.epoch=3"],
            "train.epoch: there is no such setting; did you mean",
        ),
        (["train", "--set", "train.epochs=many"], "train.epochs: input should be a valid integer"),
        (
            ["train", "--set", "train.optimizer=sgd"],
            "train.optimizer: there is no 'sgd'; known are adam, adamw",
        ),
        (["doctor", "--set", "model.name=resnet"], "model.name: there is no 'resnet'; known are"),
        (["train", "--config", "nowhere.toml"], "nowhere.toml: can't be read"),
        (["train", "--set", "dataset.path=nowhere"], "nowhere: no dataset.json"),
        (["explore", "--set", "dataset.path=nowhere"], "nowhere: no dataset.json"),
        (["prepare"], "archive.paths: is empty"),
        (["score", "--set", "run.path=nowhere"], "nowhere: no finished model here"),
        (["score", "--format", "xls"], "--format: input should be 'parquet', 'csv' or 'isic'"),
        (
            [
                "prepare",
                "--set",
                "archive.paths=nowhere.zip",
                "--set",
                "archive.metadata=/dev/null",
            ],
            "nowhere.zip: no such file",
        ),
    ],
)
def test_what_is_wrong_is_one_message_and_exit_status_2(
    skinclf: Command, arguments: list[str], told: str, tmp_path: Path
) -> None:
    if "dataset.path=nowhere" not in arguments:
        arguments = [*arguments, "--set", f"dataset.path={tmp_path}"]
    done = skinclf(*arguments)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_folder_that_no_demo_made_is_left_alone(skinclf: Command, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = skinclf("demo", "--folder", str(tmp_path))
    assert done.returncode == 2
    assert "is not empty, and no demo made it" in done.stderr
    assert (tmp_path / "thesis.tex").exists()


def test_the_installed_command_ends_with_the_same_status_and_message() -> None:
    done = subprocess.run(
        ["skinclf", "train", "--set", "train.epoch=3"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "train.epoch: there is no such setting; did you mean" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
