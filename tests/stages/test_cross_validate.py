import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from skinclf.config.loader import load_config
from skinclf.config.schema import Config
from skinclf.errors import (
    CheckError,
    ConfigError,
    DatasetError,
    RunError,
    SkinclfError,
    UsageError,
)
from skinclf.evaluation.predictions import SOURCE, Predictions
from skinclf.stages import cross_validate as stage
from skinclf.stages import folds
from skinclf.stages.compare import compare
from skinclf.stages.cross_validate import cross_validate, preview
from skinclf.stages.train import train
from skinclf.storage.cross_validation_folder import CrossValidationFolder, source_folder
from skinclf.storage.dataset_folder import Dataset, TensorFile
from skinclf.storage.files import write_table, write_text
from skinclf.storage.run_folder import RunFolder
from skinclf.testing.archive import METADATA, make_archive
from tests.evaluation.drawn import drawn_predictions, evaluation_result
from tests.support.pipeline import pipeline_config
from tests.support.runs import table_of, write_run

QUIET = Console(quiet=True)

CLINICS = ("Graz", "Wien/1", "Wien/1", "Bern")


def config_of(folder: Path, *settings: str) -> Config:
    return pipeline_config(
        folder,
        f"cross_validate.output={folder / 'cv'}",
        *("model.name=tiny", "train.epochs=1", "cross_validate.folds=3"),
        *settings,
    )


def make_clinics(folder: Path) -> None:
    """An archive of 100 images from three clinics; by a quarter of the lesions from Graz and Bern,
    but of Bern only four are known, and the others have no source.
    """
    make_archive(folder / "archive", 100)
    file = folder / "archive" / METADATA
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    for row in rows:
        number = int(row["lesion_id"][-7:])
        clinic = CLINICS[number % 4]
        row["dataset"] = "" if clinic == "Bern" and number > 16 else clinic
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def test_each_source_is_left_out_once_and_an_interrupted_job_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clinics(tmp_path)
    whole = tmp_path / "whole"  # a run of all images: its recipe teaches, and never its model
    recipe = ("model.name=tiny", "train.epochs=1", "train.global_batch_size=16", "train.seed=7")
    write_run(whole, drawn_predictions(40, 1), *recipe)
    teaches = f'train.teachers=["{whole}"]'
    by_source = ("cross_validate.by=source", "cross_validate.min_lesions=10")
    config = config_of(tmp_path, *by_source, teaches)
    trained: list[str] = []

    def train_once(one: Config, console: Console) -> Any:
        trained.append(one.run.path)
        if len(trained) == 4:
            raise KeyboardInterrupt
        return train(one, console)

    monkeypatch.setattr(stage, "train", train_once)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(config, QUIET)
    folders = [tmp_path / "cv" / "runs" / source_folder(name) for name in ("Wien/1", "Graz")]
    before = (folders[0] / "model.keras").stat().st_mtime
    assert "Wien/1: nothing, it is finished" in preview(config).starts
    assert "Graz: train, evaluate" in preview(config).starts

    found, page = cross_validate(config, QUIET)
    teachers = [folder / "teachers" / "0" for folder in folders]
    order = [teachers[0], folders[0], teachers[1], folders[1]]
    assert trained == [str(path) for path in [*order, *order[2:]]]
    assert (folders[0] / "model.keras").stat().st_mtime == before
    for teacher, folder in zip(teachers, folders, strict=True):
        run = RunFolder(str(teacher))
        assert run.read_config().train.seed == 7
        assert run.read_dataset().same_as(RunFolder(str(folder)).read_dataset())
    assert [fold.title for fold in found.folds] == ["Wien/1", "Graz"]
    assert found.only_trained_on.keys() == {"Bern", ""}
    rows = pq.read_table(tmp_path / "cv" / "predictions").to_pylist()
    assert {row["dataset"] for row in rows} == {"Graz", "Wien/1"}
    assert len(rows) == found.pooled.images == sum(fold.metrics.images for fold in found.folds)
    assert len({row["model"] for row in rows if row["dataset"] == "Graz"}) == 1
    for row, folder in (("Graz", folders[1]), ("Wien/1", folders[0])):
        seen = pq.read_table(
            str(folder).replace("/runs/", "/datasets/") + "/tensors/split=train",
            columns=["dataset"],
            partitioning=None,
        )
        assert row not in seen["dataset"].to_pylist()
    told = json.loads((tmp_path / "cv" / "cross-validation.json").read_text())
    assert told["pooled"]["leaks"]["images"] == 0
    assert list(told["pooled"]["sources"]) == ["Wien/1", "Graz"]
    assert found.fall is None  # so few validation images lack classes
    assert "Sources that were left out" in Path(page).read_text()
    assert (tmp_path / "cv" / "README.md").read_text().startswith("# Cross-validation by source")

    with pytest.raises(UsageError, match="holds a cross-validation of source-Graz, source-Wien-1"):
        preview(config_of(tmp_path))
    same = (*by_source, teaches)
    with pytest.raises(DatasetError, match=r"\[split\] differ"):
        preview(config_of(tmp_path, *same, "split.seed=3"))
    with pytest.raises(RunError, match=r"train\.seed = 9 but 2020 in the run.* --output NAME"):
        preview(config_of(tmp_path, *same, "train.seed=9"))
    with pytest.raises(ConfigError, match="another size of images"):
        preview(config_of(tmp_path, *same, "image.height=60"))
    file = whole / "config.toml"
    file.write_text(file.read_text().replace("seed = 7", "seed = 8"))
    with pytest.raises(RunError, match=r"teachers/0: .*train\.seed = 8 but 7 in the run"):
        preview(config_of(tmp_path, *same))
    file.write_text(file.read_text().replace("teachers = []", "teachers = ['other']"))
    with pytest.raises(ConfigError, match="has teachers itself"):
        preview(config_of(tmp_path, *same))
    (whole / "dataset.json").unlink()
    with pytest.raises(ConfigError, match=r"whole is not whole: .*dataset\.json"):
        preview(config_of(tmp_path, *same))
    (tmp_path / "cv" / "cross-validation.html").unlink()
    with pytest.raises(UsageError, match=r"holds README\.md, which no cross-validation wrote"):
        preview(config_of(tmp_path, *by_source))


def stages_of(
    monkeypatch: pytest.MonkeyPatch,
    whole: Predictions,
    tensors: int = 120,
    *,
    different_in: int = 0,
    shared_files: int = 0,
) -> None:
    """Replace the stages by ones that write what they would, without Spark and TensorFlow."""

    def prepared(config: Config, *_: Any) -> Dataset:
        sizes = {"train": len(whole) - 40, "test": 40}
        files = [TensorFile(path=split, split=split, rows=rows) for split, rows in sizes.items()]
        return Dataset.model_construct(
            tensors=tensors + (config.split.fold == different_in),
            shards=16,
            files=files,
            split=config.split,
            counts={"train": {}},
            shared_files=shared_files,
        )

    def write_fold(config: Config, console: Console) -> None:
        where = whole.lesions % config.split.folds == config.split.fold - 1
        part = whole.subset(where)
        path = Path(config.run.path)
        write_run(path, part, f"train.seed={config.train.seed}", "train.epochs=1")
        table = table_of(replace(part, lesions=whole.lesions[where]))  # not numbered anew
        write_table(table, str(path / "evaluation/test/predictions/part-00000.parquet"))

    monkeypatch.setattr(stage, "prepared", prepared)
    monkeypatch.setattr(stage, "train", write_fold)


def folds_config(folder: Path, output: str, *settings: str) -> Config:
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "a.jpg").write_bytes(b"")
    rows = "".join(f"L{n},a{n},nv\n" for n in range(40))
    (folder / "rows.csv").write_text(f"lesion_id,image_id,dx\n{rows}")
    return load_config(
        None,
        [
            f"archive.paths={folder / 'images'}",
            f"archive.metadata={folder / 'rows.csv'}",
            f"cross_validate.output={folder / output}",
            *("cross_validate.folds=3", "evaluate.bootstrap_samples=50"),  # write_run's
            "evaluate.screening_sensitivities=[]",
            *settings,
        ],
    )


def test_folds_are_pooled_and_two_recipes_are_compared_on_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = drawn_predictions(120, 1)
    other = Predictions(
        first.labels,
        drawn_predictions(120, 2).probabilities,
        *(first.image_ids, first.lesions, first.taxonomy),
    )
    pages = []
    for name, predictions, seed in (("first", first, 1), ("second", other, 2)):
        stages_of(monkeypatch, predictions)
        found, page = cross_validate(folds_config(tmp_path, name, f"train.seed={seed}"), QUIET)
        assert found.pooled.images == 120
        assert [fold.title for fold in found.folds] == ["fold 1", "fold 2", "fold 3"]
        assert found.pooled.model == evaluation_result(predictions).model
        assert found.pooled.lesions == len({*predictions.lesions})
        assert found.folds[0].validation == {"accuracy": 0.7, "balanced_accuracy": 0.5}
        pages.append(Path(page).read_text())
    assert "On sources that were not trained on" not in pages[0]
    paths = [str(tmp_path / name) for name in ("first", "second")]
    comparison = compare(paths, "test", 20, str(tmp_path / "compare.html"))
    assert [run.name for run in comparison.paired] == ["second"]
    page = (tmp_path / "compare.html").read_text()
    assert "<code>train.seed</code>" in page
    assert "split.fold" not in page


def test_a_dry_run_says_what_is_left_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepared_but_the_last(config: Config, _: str) -> Dataset | None:
        return None if config.split.fold == 3 else Dataset.model_construct()

    monkeypatch.setattr("skinclf.stages.prepare.finished_dataset", prepared_but_the_last)
    monkeypatch.setattr(RunFolder, "check", lambda *_: None)  # these hold nothing but models
    config = folds_config(tmp_path, "cv", "train.epochs=7")
    runs = [RunFolder(str(tmp_path / "cv" / "runs" / f"fold-{n}")) for n in (1, 2, 3)]
    runs[0].write_history([{"epoch": 1}, {"epoch": 2}])
    write_text(runs[1].model, "")
    write_text(runs[2].model, "")
    monkeypatch.setattr(folds, "known_result", lambda config, _: config.split.fold == 3 or None)
    session, *todo = preview(config).starts
    assert session.startswith("a Spark session")
    assert todo == [
        "fold 1: train from epoch 3 of 7 on, evaluate",
        "fold 2: evaluate",
        "fold 3: prepare",
    ]
    monkeypatch.setattr(
        "skinclf.stages.prepare.finished_dataset", lambda *_: Dataset.model_construct()
    )
    monkeypatch.setattr(folds.Fold, "result", True)
    write_text(runs[0].model, "")
    assert preview(config).starts == [f"fold {n}: nothing, it is finished" for n in (1, 2, 3)]


def test_a_source_s_name_is_shown_in_one_line(tmp_path: Path) -> None:
    config = folds_config(
        tmp_path, "cv", "cross_validate.by=source", "cross_validate.min_lesions=2"
    )
    rows = 'L1,a,nv,"Wien\n1"\nL2,b,nv,"Wien\n1"\nL3,c,nv,"Graz\n2"\n'
    (tmp_path / "rows.csv").write_text(f"lesion_id,image_id,dx,dataset\n{rows}")
    _, tested, small = preview(config).starts
    assert tested == r"Wien\x0a1: prepare, train, evaluate"
    assert small == r"Graz\x0a2: nothing, its 1 lesions are only trained on"


def test_images_that_are_not_tested_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages_of(monkeypatch, drawn_predictions(120, 1), tensors=121)
    with pytest.raises(CheckError, match="Did the archive or its metadata change"):
        cross_validate(folds_config(tmp_path, "cv"), QUIET)
    assert not (tmp_path / "cv" / "cross-validation.json").exists()


def test_what_the_datasets_say_is_found_out_before_any_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(settings: str, **faults: int) -> str:
        stages_of(monkeypatch, drawn_predictions(120, 1), **faults)
        with pytest.raises(SkinclfError) as caught:
            cross_validate(folds_config(tmp_path, "cv", *settings.split()), QUIET)
        assert not (tmp_path / "cv" / "runs").exists()
        return str(caught.value)

    assert "have 120, 120, 121 images" in refused("", different_in=3)
    assert "files in common, as images of two lesions, in number: 2" in refused("", shared_files=2)
    assert "expected at most 80" in refused("train.global_batch_size=96")
    assert "no validation image is of mel" in refused("decision.rule=sensitivity")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("split.folds=3", "set by cross-validate itself"),
        ("split.by=image", "evaluate.allow_leaks=true"),
        ("cross_validate.by=source", "two sources or more are expected"),
        ("dataset.overwrite=true", "Begin anew in another folder"),
        ("train.optimizer=sgd", "there is no 'sgd'"),
        ('train.teachers=["runs/compact"]', "runs/compact is no run. Its recipe is needed"),
        ("evaluate.gates.nope=1", "there is no metric 'nope'"),
        ("decision.rule=costs decision.costs.melanoma=2", "decision.costs: melanoma is no class"),
        ("archive.metadata=nowhere.csv", "nowhere.csv: can't be read"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(
    tmp_path: Path, setting: str, told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        preview(folds_config(tmp_path, "cv", *setting.split()))
    assert told in str(caught.value)
    assert not (tmp_path / "cv").exists()


def test_what_somebody_else_wrote_is_not_replaced(tmp_path: Path) -> None:
    for name in ("README.md", "predictions", "config.toml"):
        (tmp_path / name / name).mkdir(parents=True)
        with pytest.raises(UsageError, match="Choose another folder: --output NAME"):
            preview(folds_config(tmp_path, name))
        assert (tmp_path / name / name).exists()
    for path in ("mine/runs/first/config.toml", "mine/predictions/part.parquet"):
        (tmp_path / path).mkdir(parents=True)
    with pytest.raises(UsageError, match="holds predictions, which no cross-validation wrote"):
        preview(folds_config(tmp_path, "mine"))


def test_a_result_that_can_t_be_read_is_no_hindrance(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cv").mkdir()
    (tmp_path / "cv" / "cross-validation.json").write_text("{}")
    assert "train" in preview(folds_config(tmp_path, "cv")).starts[1]
    assert "can't be read as a cross-validation" in caplog.text


def test_images_of_other_sources_are_no_test_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source may share a lesion with one whose images can't be read."""
    make_clinics(tmp_path)
    config = config_of(tmp_path, "cross_validate.by=source", "cross_validate.min_lesions=10")
    fold = folds.plan_folds(config, [], CrossValidationFolder(str(tmp_path / "cv"))).folds[0]
    file = str(tmp_path / "tensors.parquet")
    monkeypatch.setattr(stage, "split_files", lambda *_: [file])
    for source in ("Bern", fold.source):
        write_table(pa.table({SOURCE: ["Bern", source]}), file)
        assert stage._has_tests(fold, Dataset.model_construct()) == (source == fold.source)


def test_each_source_has_a_folder_of_its_own() -> None:
    assert source_folder("vidir_modern") == "source-vidir_modern"
    names = {source_folder(name) for name in ("a/b", "a b", "a-b", "..", "", "é" * 300)}
    assert len(names) == 6
    assert not [name for name in names if "/" in name or "." in name or len(name) > 80]


def test_more_folds_than_lesions_are_refused_before_anything_starts(tmp_path: Path) -> None:
    make_clinics(tmp_path)
    with pytest.raises(ConfigError, match=r"lesions are too few for 500 folds"):
        preview(config_of(tmp_path, "cross_validate.folds=500"))
