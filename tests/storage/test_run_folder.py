from pathlib import Path

import pytest

from skinclf.api import Trained
from skinclf.config.loader import load_config
from skinclf.config.schema import Config, TrainConfig
from skinclf.errors import RunError
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import RunFolder
from tests.support.datasets import dataset_of


@pytest.mark.parametrize("name", ["tensors", "unfinished", "cross-validation.json"])
def test_the_folder_of_another_job_is_no_run(tmp_path: Path, name: str) -> None:
    """Its dataset.json would be replaced by that of the run."""
    (tmp_path / name).touch()
    with pytest.raises(RunError, match=r"and no run\. Choose another folder: --run NAME"):
        RunFolder(str(tmp_path)).begin(Config(), Dataset.model_construct())
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_run_without_an_epoch_may_be_deleted_where_its_config_differs(tmp_path: Path) -> None:
    run, dataset = RunFolder(str(tmp_path / "run")), dataset_of([], 1, str(tmp_path))
    run.begin(load_config(None, []), dataset)
    other = load_config(None, ["train.epochs=3"])
    unused = "or delete this one if no job is starting there: it has no epoch yet"
    with pytest.raises(RunError, match=f"--run NAME, {unused}"):
        run.check(other, dataset)
    with pytest.raises(RunError, match=r"--output NAME$"):
        run.check(other, dataset, "--output NAME")
    run.write_history([{"epoch": 1}])
    with pytest.raises(RunError, match=r"--run NAME$"):
        run.check(other, dataset)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("model.keras", "a model", "a model"),  # as in a folder that MLflow wrote
        # Somebody deleted config.toml, whose settings were refused as others.
        ("history.jsonl", '{"epoch": 1}\n', "epochs of a training"),
        ("checkpoints/epoch-0001-0123456789abcdef0123456789abcdef.npz", "", "epochs of a training"),
    ],
)
def test_a_training_of_which_nothing_is_known_is_left_alone(
    tmp_path: Path, name: str, content: str, kind: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    run, dataset = RunFolder(str(tmp_path)), dataset_of([], 1, str(tmp_path))
    with pytest.raises(RunError, match=rf"has {kind}.* and no config\.toml.*--run NAME$"):
        run.begin(load_config(None, []), dataset)
    assert [path.name for path in tmp_path.iterdir()] == [name.partition("/")[0]]
    with pytest.raises(RunError, match=r"has no config\.toml"):
        run.read_config()
    with pytest.raises(RunError, match=r"has no dataset\.json, so what it was trained on"):
        run.read_dataset()


def test_a_damaged_history_is_told_and_one_that_is_gone_leaves_the_model(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    shown = Trained(run.path, run.read_history(), TrainConfig())
    assert repr(shown) == f"{tmp_path}: a model, without the history of its training"
    assert "<img" not in shown._repr_html_()
    (tmp_path / "history.jsonl").write_text('{"epoch": 1')
    with pytest.raises(RunError, match=r"history\.jsonl: is damaged: "):
        run.read_history()
