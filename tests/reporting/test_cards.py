"""The cards of datasets and models, read by the libraries of the Hugging Face Hub."""

from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, ModelCard

from skinclf.reporting.front_matter import front_matter, licence_of
from skinclf.reporting.model_card import write_card
from skinclf.spec.decision import Decision, DecisionRule
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import RunFolder, model_digest
from tests.evaluation.drawn import drawn_predictions
from tests.support.runs import write_run


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_load_dataset_finds_the_splits_and_the_classes(prepared: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = prepared / "dataset"
    ours = Dataset.read(str(folder))
    found = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: rows.num_rows for split, rows in found.items()} == {
        "train": ours.count("train"),
        "validation": ours.count("val"),
        "test": ours.count("test"),
    }
    test = found["test"]
    assert test.features["label"].names == list(HAM10000.codes)
    assert [test.features["label"].names[row["label"]] for row in test] == test["dx"][:]
    assert len(test[0]["pixels"]) == 75 * 100 * 3


def test_the_dataset_s_card_has_the_metadata_of_the_hub(prepared: Path) -> None:
    data = DatasetCard.load(prepared / "dataset" / "README.md").data.to_dict()
    assert data["task_categories"] == ["image-classification"]
    assert [files["split"] for files in data["configs"][0]["data_files"]] == [
        *("train", "validation", "test")
    ]


def test_the_model_s_card_has_its_metrics(trained: Path) -> None:
    card = ModelCard.load(trained / "run" / "model_card.md")
    assert card.data.library_name == "keras"
    assert card.data.pipeline_tag == "image-classification"
    assert "Intended use" in card.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CC BY-NC 4.0", {"license": "cc-by-nc-4.0"}),
        ("", {"license": "unknown"}),
        ("ask: us", {"license": "other", "license_name": "ask-us"}),
    ],
)
def test_licences_are_those_of_the_hub_where_they_are_known(
    text: str, expected: dict[str, str]
) -> None:
    assert licence_of(text) == expected


def test_metadata_from_outside_can_t_end_the_block() -> None:
    text = front_matter({"license_name": "a\n---\nb: 1"})
    assert text.count("\n---\n") == 1


def test_a_card_says_which_metrics_are_of_an_earlier_decision(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The index of the Hub leaves them out. So does the card what is no evaluation."""
    write_run(tmp_path, drawn_predictions(40, 1))
    run = RunFolder(str(tmp_path))
    model, codes = model_digest(run.read_model()), run.read_labels().taxonomy.codes
    assert "How it was trained is not in its folder" in Path(write_card(run)).read_text()
    run.write_history([{"epoch": 1.0, "loss": 0.5, "seconds": 1.0}])
    assert "model-index" in Path(write_card(run)).read_text()
    decision = Decision(
        asked=DecisionRule(rule="balanced_accuracy"),
        weights=dict.fromkeys(codes, 2.0),
        model=model,
        validation={},
    )
    (tmp_path / "decision.json").write_text(decision.model_dump_json())
    other = Path(run.evaluation("other").metrics)
    other.parent.mkdir()
    other.write_text('{"of": "another version"}')
    card = Path(write_card(run)).read_text()
    assert "other/metrics.json: can't be read as an evaluation" in caplog.text
    assert "model-index" not in card
    assert (
        "The metrics of test are by an earlier decision than the one that the run has now" in card
    )
