import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from skinclf.config.schema import Config
from skinclf.errors import ConfigError, DatasetError, LeakError
from skinclf.evaluation.result import EvaluationResult
from skinclf.stages import replicate as stage
from skinclf.stages.evaluate import evaluate
from skinclf.stages.replicate import COLUMNS, protocol_config, replicate
from skinclf.testing.archive import make_archive
from tests.support.pipeline import pipeline_config

QUIET = Console(quiet=True)


ASKED: list[str] = []
"""The splits of which an evaluation was asked for."""


def evaluate_test(config: Config, console: Console) -> tuple[EvaluationResult, str]:
    """The evaluation of the test split, for the validation split, too: half the work."""
    ASKED.append(config.evaluate.split)
    settings = config.evaluate.model_copy(update={"split": "test"})
    evaluated = evaluate(config.model_copy(update={"evaluate": settings}), console)
    folder = Path(config.run.path) / "evaluation"
    shutil.copytree(folder / "test", folder / "val")
    return evaluated


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.teachers=runs/compact", "no teacher was trained on both"),
        ("dataset.overwrite=true", "is taken over. Choose other folders"),
        ("train.optimizer=sgd", "there is no 'sgd'"),
        ("evaluate.gates.nope=1", "there is no metric 'nope'"),
        ("split.left_out=Graz", "the paper's split is of shares"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_prepared(
    tmp_path: Path, setting: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        replicate(pipeline_config(tmp_path, setting), QUIET)


def test_both_protocols_stand_beside_the_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinclf.stages.replicate.evaluate", evaluate_test)
    make_archive(tmp_path / "archive", 160)
    settings = ("train.loss=binary_crossentropy", "train.epochs=1")
    config = pipeline_config(tmp_path, *settings)
    ASKED.clear()
    rows, page = replicate(config, QUIET)
    assert ASKED == ["val", "val"]  # each wrote the result of test, too
    assert [len(row) for row in rows] == [len(COLUMNS)] * 10
    assert rows[0][:3] == ("the paper, val", "0.9406", "0.1452")
    told = json.loads((tmp_path / "run" / "replication.json").read_text())
    assert [(row["by"], row["split"]) for row in told] == [
        ("image", "val"),
        ("image", "test"),
        ("lesion", "val"),
        ("lesion", "test"),
    ]
    assert told[1]["leaks"]["images"] > 0  # by image, lesions stand on both sides
    assert told[3]["leaks"]["images"] == 0
    low, high = told[3]["intervals"]["binary_accuracy"]
    binary = f"{told[3]['model']['binary_accuracy']:.4f} ({low:.3f}–{high:.3f})"
    loss = f"{told[3]['model']['binary_crossentropy']:.4f}"
    assert rows[8][:3] == ("by lesion, test", binary, loss)
    always = told[3]["baseline"]
    assert rows[9][:3] == ("… always nv", f"{always['binary_accuracy']:.4f}", "")
    assert Path(page).read_text().count("<figure>") == 2 * 9

    models = {path: path.stat().st_mtime for path in tmp_path.glob("run-by-*/model.keras")}
    assert len(models) == 2
    assert replicate(config, QUIET)[0] == rows  # again: nothing is trained anew
    assert all(path.stat().st_mtime == before for path, before in models.items())

    other = config.archive.model_copy(update={"paths": ("elsewhere.zip",)})
    with pytest.raises(DatasetError, match=r"asked for \(archive.paths differ\)"):
        replicate(config.model_copy(update={"archive": other}), QUIET)


def test_what_is_wrong_with_one_dataset_is_told_before_any_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(config: Config, *_: object) -> None:
        if config.split.by == "lesion":
            raise LeakError("files in common")

    monkeypatch.setattr(stage, "_prepared", refused)
    monkeypatch.setattr(stage, "train", lambda *_: pytest.fail("it trains"))
    with pytest.raises(LeakError):
        replicate(pipeline_config(tmp_path), QUIET)


def test_each_protocol_has_folders_of_its_own() -> None:
    config = pipeline_config(Path("/x"))
    by_image, by_lesion = (protocol_config(config, by) for by in ("image", "lesion"))
    assert (by_image.split.by, by_lesion.split.by) == ("image", "lesion")
    assert by_image.dataset.path == "/x/dataset-by-image"
    assert by_lesion.run.path == "/x/run-by-lesion"
    assert (by_image.evaluate.allow_leaks, by_lesion.evaluate.allow_leaks) == (True, False)
    assert by_image.train == config.train
