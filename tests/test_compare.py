"""`skinclf compare`, over runs that are written and not trained."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from skinclf.evaluation.predictions import Predictions
from skinclf.reporting.results import read_prediction_table
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.files import write_table
from tests.evaluation.drawn import drawn_predictions
from tests.support.command import Command
from tests.support.runs import write_run

FLOWERS = Taxonomy(codes=("daisy", "rose", "tulip"), majority="rose", screened="")


@pytest.fixture
def skinclf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("COLUMNS", "250")
    return Command(monkeypatch, capsys)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two runs that were evaluated on the same images."""
    first = drawn_predictions(120, 1)
    other = Predictions(
        first.labels,
        drawn_predictions(120, 2).probabilities,
        *(first.image_ids, first.lesions, first.taxonomy),
    )
    write_run(tmp_path / "first", first, "train.seed=1")
    write_run(tmp_path / "second", other, "train.seed=2", "train.augment.flip=true")
    return [str(tmp_path / "first"), str(tmp_path / "second")]


def test_two_runs_become_a_table_and_a_page(
    skinclf: Command, runs: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "compare.html"
    done = skinclf("compare", *runs, "--output", str(page))
    assert done.returncode == 0, done.stderr
    assert "2 runs on test" in done.stdout
    assert "difference to first" in done.stdout
    assert " pp (" in done.stdout
    assert done.stdout.strip().endswith(str(page))
    text = page.read_text()
    assert "<code>train.seed</code>" in text
    assert "<code>train.augment.flip</code>" in text
    assert "<code>train.epochs</code>" not in text


def test_a_run_of_other_images_has_no_paired_difference(
    skinclf: Command, runs: list[str], tmp_path: Path
) -> None:
    write_run(tmp_path / "third", drawn_predictions(100, 3))
    page = tmp_path / "compare.html"
    done = skinclf("compare", *runs, str(tmp_path / "third"), "--output", str(page))
    assert done.returncode == 0, done.stderr
    assert "third was evaluated on other images, lesions or diagnoses than first" in done.stdout
    assert "100 image ids" in page.read_text()


def test_runs_of_one_name_go_by_more_of_their_paths(
    skinclf: Command, runs: list[str], tmp_path: Path
) -> None:
    write_run(tmp_path / "elsewhere" / "first", drawn_predictions(120, 1))
    other = str(tmp_path / "elsewhere" / "first")
    page = tmp_path / "compare.html"
    done = skinclf("compare", *runs, other, "--output", str(page))
    assert done.returncode == 0, done.stderr
    assert f"Differences to {tmp_path.name}/first" in page.read_text()
    assert "elsewhere/first" in done.stdout


def failure_of(skinclf: Command, *arguments: str) -> str:
    done = skinclf("compare", *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def test_what_can_t_be_compared_is_one_line(
    skinclf: Command, runs: list[str], tmp_path: Path
) -> None:
    first, other = runs
    assert "two runs or more are expected" in failure_of(skinclf, first)
    assert "first: is named twice" in failure_of(skinclf, first, f"{first}/")
    nowhere = str(tmp_path / "nowhere")
    assert "nowhere: no finished model here" in failure_of(skinclf, first, nowhere)
    told = failure_of(skinclf, first, other, "--on", "val")
    assert "first: was not evaluated on val. Evaluate it: skinclf evaluate --run" in told
    assert "--set evaluate.split=val" in told
    message = failure_of(skinclf, first, other, "--on", "clinic")
    assert "--archive ARCHIVE --metadata METADATA --set evaluate.name=clinic" in message
    assert "--on test" in told
    for output in ("", str(tmp_path)):
        assert "--output: " in failure_of(skinclf, first, other, "--output", output)
    assert "--on: is empty" in failure_of(skinclf, first, other, "--on", "")
    assert "--on train: no model" in failure_of(skinclf, first, other, "--on", "train")
    write_run(tmp_path / "flowers", drawn_predictions(60, 1, FLOWERS))
    told = failure_of(skinclf, first, str(tmp_path / "flowers"))
    assert "flowers: its classes are daisy, rose, tulip, those of" in told


def test_a_model_that_was_trained_anew_has_to_be_evaluated_anew(
    skinclf: Command, runs: list[str]
) -> None:
    Path(runs[1], "model.keras").write_bytes(b"another model")
    told = failure_of(skinclf, *runs)
    assert "second: was evaluated on test with an earlier model" in told


def test_damaged_files_of_an_evaluation_are_named(skinclf: Command, runs: list[str]) -> None:
    part = Path(runs[1], "evaluation", "test", "predictions", "part-00000.parquet")
    part.write_bytes(b"PAR1")
    assert "predictions: can't be read as predictions" in failure_of(skinclf, *runs)
    part.unlink()
    part.parent.rmdir()
    assert "predictions: can't be read as predictions" in failure_of(skinclf, *runs)
    metrics = Path(runs[0], "evaluation", "test", "metrics.json")
    metrics.write_text(json.dumps({"model": {}}))
    assert "metrics.json: can't be read as an evaluation" in failure_of(skinclf, *runs)


def test_the_name_of_a_folder_is_no_column_of_predictions(tmp_path: Path) -> None:
    folder = tmp_path / "dataset=clinic" / "predictions"
    write_table(pa.table({"image_id": ["a"], "dataset": ["rosendahl"]}), str(folder / "a.parquet"))
    assert read_prediction_table(str(folder))["dataset"].to_pylist() == ["rosendahl"]
