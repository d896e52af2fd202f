import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from skinclf import api
from skinclf.cli.terminal import print_table
from skinclf.config.loader import load_config
from skinclf.config.schema import Config
from skinclf.errors import UsageError
from skinclf.evaluation.result import CrossValidation
from tests.evaluation.drawn import drawn_cross_validation
from tests.support.command import Command
from tests.support.repository import REPOSITORY

JOBS = (
    *("prepare", "explore", "doctor", "train", "evaluate", "replicate", "cross-validate", "score"),
)

WITHOUT_SPARK = ("compare", "browse", "export")


@pytest.fixture
def skinclf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.mark.parametrize("job", [*JOBS, *WITHOUT_SPARK])
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
    runpy.run_path(str(REPOSITORY / "jobs" / f"{job}.py"), run_name="__main__")
    assert f"Usage: spark-submit jobs/{job}.py [OPTIONS]" in capsys.readouterr().out


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


def test_a_dry_run_checks_and_says_what_would_happen(skinclf: Command, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    (tmp_path / "rows.csv").write_text("image_id,lesion_id,dx\na,,nv\n")
    options = ["--archive", str(tmp_path / "images"), "--metadata", str(tmp_path / "rows.csv")]
    done = skinclf("prepare", *options, "--output", str(tmp_path / "data"), "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["reads"] == [str(tmp_path / "images"), str(tmp_path / "rows.csv")]
    assert told["writes"] == [str(tmp_path / "data")]
    assert told["starts"] == ["a Spark session on local[*], 4g for its JVM"]
    assert not (tmp_path / "data").exists()
    wrong = skinclf("prepare", *options[:3], "nowhere.csv", "--dry-run")
    assert wrong.returncode == 2
    assert "nowhere.csv" in wrong.stderr


def test_settings_are_shown_with_where_they_were_given(skinclf: Command, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[train]\nepochs = 3\n\n[spark.conf]\n"spark.secret" = "x"\n')
    done = skinclf("config", "show", "--config", str(file), "--set", "train.seed=4")
    assert f"\nepochs = 3  # {file}\n" in done.stdout
    assert "\nseed = 4  # --set train.seed\n" in done.stdout
    assert "\nslots = 1\n" in done.stdout
    assert "spark.secret" not in done.stdout
    shown = tmp_path / "shown.toml"
    shown.write_text(done.stdout)
    assert load_config(str(shown)).train.epochs == 3
    told = json.loads(skinclf("config", "show", "--config", str(file), "--json").stdout)
    assert told["settings"]["train"]["epochs"] == 3
    assert told["origins"]["train.epochs"] == str(file)


def test_the_schema_describes_every_setting(skinclf: Command) -> None:
    schema = json.loads(skinclf("config", "schema").stdout)
    epochs = schema["$defs"]["TrainConfig"]["properties"]["epochs"]
    assert epochs["description"] == "passes over the training images"
    assert epochs["exclusiveMinimum"] == 0
    for section, reference in schema["properties"].items():
        model = schema["$defs"][reference["$ref"].rpartition("/")[2]]
        for name, field in model["properties"].items():
            assert field.get("description"), f"{section}.{name}"


def test_options_of_a_cross_validation_are_its_settings(
    skinclf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Config] = []
    for by, unused in (("source", "folds"), ("fold", "min_lesions")):
        done = skinclf("cross-validate", "--by", by, f"--{unused.replace('_', '-')}", "30")
        assert done.returncode == 2
        assert f'{unused}: has no effect with cross_validate.by = "{by}"' in done.stderr
    with pytest.raises(UsageError, match=r'^cross_validate\.folds: has no effect with .*"source"$'):
        api.cross_validate(by="source", folds=3)

    def cross_validate(config: Config, _: object) -> tuple[CrossValidation, str]:
        asked.append(config)
        return drawn_cross_validation(), "page.html"

    monkeypatch.setattr("skinclf.stages.cross_validate.cross_validate", cross_validate)
    skinclf(
        *("cross-validate", "--by", "source"),
        *("--min-lesions", "30", "--output", "cv"),
    )
    expected = {"by": "source", "folds": 5, "min_lesions": 30, "output": "cv"}
    assert asked[0].cross_validate.model_dump() == expected


def test_a_table_of_many_classes_keeps_its_numbers_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rich would break them, or leave whole columns out."""
    codes = [f"class_{n}" for n in range(20)]
    print_table("images [all]", ["split", *codes], [["train", *["12,345"] * 20]])
    printed = capsys.readouterr().out
    assert "images [all]" in printed  # which is no markup
    assert [line.split()[1::2] for line in printed.splitlines() if "class_" in line] == [
        [code, "12,345"] for code in codes
    ]


def test_a_sign_that_the_locale_lacks_ends_no_command() -> None:
    """The en dash of intervals, in ISO-8859-1."""
    code = (
        "from skinclf.cli import terminal, commands, main\n"
        "commands.app.command('dash')(lambda: terminal.print_table('x', ['a'], [['1–2']]))\n"
        "main()"
    )
    command = [sys.executable, "-c", code, "dash"]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"1?2" in done.stdout
