"""A second job for a folder that a job is writing to."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from skinclf.config.schema import Config
from skinclf.errors import UsageError
from skinclf.stages.evaluate import evaluate
from skinclf.stages.prepare import prepare
from skinclf.stages.score import score
from skinclf.stages.train import train
from skinclf.storage.ownership import owned
from skinclf.training.predictor import Predictor
from tests.support.pipeline import pipeline_config

STAGES: dict[str, Callable[[Config, Console], object]] = {
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "score": score,
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_second_job_is_refused_with_the_first_one_s_name(
    trained: Path, tmp_path: Path, stage: str
) -> None:
    run = tmp_path / "trained"
    shutil.copytree(trained / "run", run)
    model = Predictor.of_run(str(run)).digest[:12]
    folder, settings = {
        "prepare": (tmp_path / "dataset", [f"dataset.path={tmp_path / 'dataset'}"]),
        "train": (tmp_path / "run", [f"run.path={tmp_path / 'run'}"]),
        "evaluate": (run / "evaluation" / "test", [f"run.path={run}"]),
        "score": (tmp_path / model, [f"score.output={tmp_path}"]),
    }[stage]
    before = set(tmp_path.rglob("*"))
    with (
        owned(str(folder), "first", lambda: None),
        pytest.raises(UsageError, match=r"a job \(first\) on host .* has owned this folder since"),
    ):
        STAGES[stage](pipeline_config(trained, *settings), Console(quiet=True))
    assert not (folder / "owner.json").exists()
    assert [path for path in set(tmp_path.rglob("*")) - before if path.is_file()] == []
