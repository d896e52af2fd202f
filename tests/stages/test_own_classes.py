"""Four classes of one's own at 48x64, beside HAM10000's seven at 75x100 in the same process."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from skinclf.config.schema import Config
from skinclf.errors import DatasetError, RunError
from skinclf.stages.evaluate import evaluate
from skinclf.stages.explore import explore
from skinclf.stages.prepare import prepare
from skinclf.stages.score import score
from skinclf.stages.train import train
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import RunFolder
from skinclf.testing.archive import LOOKS, make_archive
from skinclf.training.predictor import Predictor
from tests.support.pipeline import pipeline_config

QUIET = Console(quiet=True)
CODES = ("Mole", "cancer", "keratosis", "scar")
OWN = {
    "Mole": LOOKS["nv"],
    "cancer": LOOKS["mel"],
    "keratosis": LOOKS["akiec"],
    "scar": LOOKS["df"],
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    make_archive(folder / "archive", 200, looks=OWN)
    return folder


@pytest.fixture(scope="module")
def config(own: Path) -> Config:
    return pipeline_config(
        own,
        *("image.height=48", "image.width=64", "image.filter=bilinear"),
        'classes.codes=["Mole", "cancer", "keratosis", "scar"]',
        'classes.names=["A mole", "Any cancer", "A keratosis", "A scar"]',
        *("classes.majority=Mole", "classes.screened=cancer"),
        *("model.name=tiny", "train.epochs=3", "train.learning_rate=0.01"),
    )


@pytest.mark.usefixtures("spark")
def test_all_stages_take_classes_and_size_from_the_settings_and_from_the_data(
    own: Path, config: Config, prepared: Path
) -> None:
    dataset = prepare(config, QUIET)
    assert (dataset.shape, dataset.classes) == ([48, 64, 3], list(CODES))
    assert set(dataset.counts["train"]) == set(CODES)
    # Codes are matched whatever their case.
    assert ",Mole," in (own / "archive" / "DEMO_metadata.csv").read_text()
    assert dataset.rejects["unknown_dx"] == 1  # the one that is broken on purpose
    tensors = pq.read_table(own / "dataset" / "tensors")
    assert {len(pixels) for pixels in tensors["pixels"].to_pylist()} == {48 * 64 * 3}
    labels = {row["dx"]: row["label"] for row in tensors.select(["dx", "label"]).to_pylist()}
    assert labels == {code: label for label, code in enumerate(CODES)}

    assert "keratosis" in Path(explore(config, QUIET)).read_text()

    # From here on the dataset and the model say what they are, whatever the settings do.
    plain = pipeline_config(own, "model.name=tiny", "train.epochs=3", "train.learning_rate=0.01")
    history = train(plain, QUIET)
    assert sum(history[-1][f"val_predicted_{code}"] for code in CODES) == pytest.approx(1)
    stored = json.loads((own / "run" / "labels.json").read_text())
    assert (stored["classes"], stored["input"]["shape"]) == (list(CODES), [48, 64, 3])
    assert stored["names"]["cancer"] == "Any cancer"

    _, report = evaluate(plain, QUIET)
    metrics = json.loads((own / "run" / "evaluation" / "test" / "metrics.json").read_text())
    assert list(metrics["classes"]) == list(CODES)
    assert len(metrics["confusion"]) == 4
    assert "Any cancer" in Path(report).read_text()
    assert "Melanoma" not in Path(report).read_text()
    assert "A scar" in (own / "run" / "model_card.md").read_text()

    summary = score(plain, QUIET)
    assert set(summary.predicted) <= set(CODES)
    (scores,) = Path(summary.path).glob("scores/*.parquet")
    assert [n for n in pq.read_schema(scores).names if n.startswith("probability_")] == [
        f"probability_{code}" for code in CODES
    ]

    assert Dataset.read(str(prepared / "dataset")).shape == [75, 100, 3]


def test_a_dataset_that_says_two_things_of_itself_is_refused(
    prepared: Path, tmp_path: Path
) -> None:
    """Such as one of another size, from before a dataset carried its size."""
    stored = json.loads((prepared / "dataset" / "dataset.json").read_text())
    del stored["image"], stored["taxonomy"]
    (tmp_path / "dataset.json").write_text(json.dumps(stored))
    assert Dataset.read(str(tmp_path)).shape == [75, 100, 3]
    (tmp_path / "dataset.json").write_text(json.dumps(stored | {"shape": [224, 224, 3]}))
    with pytest.raises(DatasetError, match=r"shape is \[224, 224, 3\], expected \[75, 100, 3\]"):
        Dataset.read(str(tmp_path))
    (tmp_path / "dataset.json").write_text(json.dumps(stored | {"dtype": "float16"}))
    with pytest.raises(DatasetError, match="dtype is float16, expected uint8"):
        Dataset.read(str(tmp_path))


def test_a_run_is_no_dataset(trained: Path) -> None:
    """It keeps the dataset.json of what it was trained on."""
    run = RunFolder(str(trained / "run"))
    with pytest.raises(DatasetError, match=r"run: is a run, and no dataset.*--dataset"):
        Dataset.read(run.path)
    assert run.read_dataset().same_as(Dataset.read(str(trained / "dataset")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "labels.json: is damaged: "),
        ("{}", "labels.json: is damaged: 'classes' is missing"),
        ('{"classes": [], "taxonomy": {"codes": ["a"]}}', "labels.json: is damaged: codes: tuple"),
    ],
)
def test_damaged_labels_are_one_line(
    trained: Path, tmp_path: Path, text: str, message: str
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "run" / "labels.json").write_text(text)
    with pytest.raises(RunError, match=message) as raised:
        Predictor.of_run(str(tmp_path / "run"))
    assert "\n" not in str(raised.value)


def test_a_model_that_does_not_fit_its_labels_or_its_dataset_is_refused_at_once(
    trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    labels = json.loads((run / "labels.json").read_text())
    labels["image"]["height"] = 48
    (run / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(RunError, match=r"labels\.json and dataset\.json name other"):
        Predictor.of_run(str(run))
    (run / "dataset.json").unlink()
    with pytest.raises(RunError, match=r"model\.keras reads \(75, 100, 3\) and has 7 outputs"):
        Predictor.of_run(str(run))
