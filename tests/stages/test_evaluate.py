import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from rich.console import Console

from skinclf.config.schema import Config, EvaluateConfig
from skinclf.errors import (
    ArchiveError,
    ConfigError,
    LeakError,
    MetadataError,
    QualityError,
    RunError,
)
from skinclf.evaluation.assessment import assess
from skinclf.evaluation.result import Assessment
from skinclf.reporting.evaluation import GALLERY
from skinclf.spark.inference import prediction_columns
from skinclf.spark.tested import split_files
from skinclf.spec.decision import Decision, DecisionRule, decide
from skinclf.spec.tables import predictions_schema
from skinclf.spec.taxonomy import HAM10000, probability_column
from skinclf.spec.views import views_of
from skinclf.stages.deciding import kept_decision
from skinclf.stages.evaluate import evaluate, preview, set_name
from skinclf.stages.resuming import known_result
from skinclf.stages.score import folder_of
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import RunFolder, model_digest
from skinclf.testing.archive import METADATA, ZIPS
from skinclf.training.predictor import Predictor
from skinclf.training.shards import pixels_of_column
from tests.support.images import encoded, write_zip
from tests.support.pipeline import pipeline_config

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation of the trained run's copy on the test split."""
    run = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(trained / "run", run)
    evaluate(pipeline_config(trained, f"run.path={run}", "evaluate.neighbors=3"), QUIET)
    return run / "evaluation" / "test"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, for a test to write to."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def test_every_image_of_the_test_split_is_predicted_once(trained: Path, evaluated: Path) -> None:
    table = pq.read_table(evaluated / "predictions")
    dataset = Dataset.read(str(trained / "dataset"))
    assert table.schema.names == predictions_schema(HAM10000).names
    assert table.num_rows == dataset.count("test") == len(set(table["image_id"].to_pylist()))
    (model,) = set(table["model"].to_pylist())
    assert model == model_digest((trained / "run" / "model.keras").read_bytes())


def test_predictions_are_those_of_the_model_on_the_tensors(trained: Path, evaluated: Path) -> None:
    dataset = Dataset.read(str(trained / "dataset"))
    shard = pq.read_table(f"{dataset.path}/{dataset.files_of('test')[0].path}")
    pixels = pixels_of_column(shard["pixels"].combine_chunks(), dataset.image)
    expected = Predictor.of_run(str(trained / "run")).load(threads=0)(pixels)
    predicted = {r["image_id"]: r for r in pq.read_table(evaluated / "predictions").to_pylist()}
    found = [
        [predicted[image_id][f"probability_{code}"] for code in dataset.classes]
        for image_id in shard["image_id"].to_pylist()
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_nearest_training_images_are_listed_and_drawn(trained: Path, evaluated: Path) -> None:
    table = csv.read_csv(evaluated / "neighbors" / "neighbors.csv")
    dataset = Dataset.read(str(trained / "dataset"))
    assert table.num_rows == dataset.count("test")
    first = table.to_pylist()[0]
    assert first["similarity"] == max(table["similarity"].to_pylist()) <= 1
    page = (evaluated / "report.html").read_text()
    assert page.count('<br><span class="soft">') >= 3
    assert f"{first['image_id']}, {first['training_image_id']}" in page


def test_metrics_stand_beside_the_baseline(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["model"].keys() == metrics["baseline"].keys()
    present = sum(row["images"] > 0 for row in metrics["classes"].values())
    assert metrics["baseline"]["balanced_accuracy"] == pytest.approx(1 / present)
    assert sum(map(sum, metrics["confusion"])) == metrics["images"]


def test_the_report_holds_its_pictures_and_reaches_for_nothing(evaluated: Path) -> None:
    page = (evaluated / "report.html").read_text()
    confusion = np.array(json.loads((evaluated / "metrics.json").read_text())["confusion"])
    wrong = int(confusion.sum() - np.trace(confusion))
    assert wrong > 0
    figures, curves, neighbors = 7, 2, 2 * 3
    pictures = figures + curves + neighbors + min(wrong, GALLERY)
    assert page.count("data:image/png;base64,") == pictures
    assert "always nv (majority class)" in page
    challenge = page.partition("as the ISIC 2018 challenge counts")[2].partition("</table>")[0]
    rates = json.loads((evaluated / "metrics.json").read_text())["isic_2018"]["classes"]["nv"]
    assert f"{100 * rates['specificity']:.1f}%" in challenge
    assert not [word for word in ("http:", "https:", "<script", "<link") if word in page]


def test_a_run_without_a_model_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished model here"):
        evaluate(pipeline_config(trained, f"run.path={tmp_path}"), QUIET)


def test_a_gate_of_no_metric_is_refused_before_spark_starts(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinclf.stages.evaluate.spark_session", None)
    config = pipeline_config(trained, "evaluate.gates.melanoma.auc=0.9")
    with pytest.raises(ConfigError, match=r"no metric 'melanoma\.auc'"):
        evaluate(config, QUIET)
    with pytest.raises(ConfigError, match=r"no metric 'melanoma\.auc'"):
        preview(config)


def test_thresholds_are_chosen_on_validation(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["chosen_on"] == "val"
    assert [row["wanted_sensitivity"] for row in metrics["melanoma"]] == [0.8, 0.9, 0.95]
    assert metrics["leaks"]["images"] == 0


def test_the_model_card_has_data_settings_and_metrics(evaluated: Path) -> None:
    card = (evaluated.parent.parent / "model_card.md").read_text()
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["digest"] in card
    assert f"| test | {metrics['images']} |" in card
    assert f"{100 * metrics['model']['balanced_accuracy']:.1f}%" in card
    assert "not a medical device" in card
    assert "`train.global_batch_size = 32`" in card


def test_a_run_of_another_dataset_is_refused(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "dataset"
    shutil.copytree(trained / "dataset", other)
    manifest = other / "dataset.json"
    manifest.write_text(
        manifest.read_text().replace('"seed":2020', '"seed":1').replace("2020", "1")
    )
    with pytest.raises(RunError, match="was not trained on"):
        evaluate(pipeline_config(trained, f"dataset.path={other}"), QUIET)


def outside(folder: Path, *, first: int) -> tuple[Path, Path]:
    """A zip of five drawn images and ISIC 2018's form of their diagnoses; one row has none."""
    random = np.random.default_rng(first)
    files = {
        f"ISIC_{first + n:07}.jpg": encoded(
            random.integers(0, 256, (45, 60, 3), np.uint8), "JPEG", quality=90
        )
        for n in range(5)
    }
    codes = ("NV", "MEL", "NV", "DF", "BKL", "NV")
    header = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    rows = [
        ",".join([f"ISIC_{first + n:07}", *("1.0" if code == name else "0.0" for name in header)])
        for n, code in enumerate(codes)
    ]
    metadata = folder / "truth.csv"
    metadata.write_text("\n".join([",".join(["image", *header]), *rows]) + "\n")
    return write_zip(folder / "outside.zip", files), metadata


def test_an_archive_from_elsewhere_gives_the_same_report(
    trained: Path, run: Path, tmp_path: Path
) -> None:
    archive, metadata = outside(tmp_path, first=7_000_000)
    config = pipeline_config(
        trained,
        f"run.path={run}",
        f'evaluate.archive=["{archive}"]',
        f"evaluate.metadata={metadata}",
        "evaluate.tta=symmetries",
    )
    result, report = evaluate(config, QUIET)
    folder = run / "evaluation" / "truth"
    assert report == str(folder / "report.html")
    assert (result.images, result.lesions) == (5, 5)
    assert result.rejects == {"no_image": 1}
    assert pq.read_table(folder / "rejects")["image_id"].to_pylist() == ["ISIC_7000005"]
    assert not (folder / "staging").exists()
    assert (result.archive, result.metadata) == ((str(archive),), str(metadata))
    assert f"in\n{archive}, with the diagnoses of {metadata}" in Path(report).read_text()
    elsewhere = shutil.copy(archive, tmp_path / "elsewhere.zip")
    other = [f"evaluate.archive={elsewhere}", f"evaluate.metadata={metadata}"]
    with pytest.raises(
        ConfigError, match=r"evaluate\.name: .* is the evaluation of .*outside\.zip"
    ):
        preview(pipeline_config(trained, f"run.path={run}", *other))
    assert (
        "| truth, four mirror images and their quarter turns | 5 |"
        in (run / "model_card.md").read_text()
    )


def test_an_archive_from_elsewhere_may_have_a_folder_for_each_class(
    trained: Path, run: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(8)
    names = ("mel/1.png", "naevi/1.png", "naevi/2.png", "wart/1.png")
    files = {name: encoded(random.integers(0, 256, (45, 60, 3), np.uint8), "PNG") for name in names}
    config = pipeline_config(
        trained,
        f"run.path={run}",
        f"evaluate.archive={write_zip(tmp_path / 'clinic.zip', files)}",
        "evaluate.metadata=folders",
        'metadata.labels={naevi = "nv"}',
    )
    result, report = evaluate(config, QUIET)
    folder = run / "evaluation" / "clinic"
    assert report == str(folder / "report.html")
    assert (result.images, result.rejects) == (3, {"unknown_dx": 1})
    table = pq.read_table(folder / "predictions").select(["image_id", "dx"]).to_pylist()
    assert {row["image_id"]: row["dx"] for row in table} == {
        "clinic/mel/1": "mel",
        "clinic/naevi/1": "nv",
        "clinic/naevi/2": "nv",
    }


def test_a_set_that_can_t_be_read_is_refused_before_spark_starts(
    trained: Path, run: Path, tmp_path: Path
) -> None:
    archive, metadata = outside(tmp_path, first=7_000_000)
    given = [f"run.path={run}", f"evaluate.metadata={metadata}"]
    with pytest.raises(ArchiveError, match=r"nowhere\.zip"):
        preview(pipeline_config(trained, *given, "evaluate.archive=nowhere.zip"))
    given += [f"evaluate.archive={archive}", "archive.same_lesion=nowhere.csv"]
    with pytest.raises(MetadataError, match=r"nowhere\.csv"):
        preview(pipeline_config(trained, *given))


def test_a_set_of_unknown_words_says_where_its_rejects_are(
    trained: Path, run: Path, tmp_path: Path
) -> None:
    archive, _ = outside(tmp_path, first=7_000_000)
    metadata = tmp_path / "words.csv"
    rows = [f"L{n},ISIC_{7_000_000 + n:07},wart" for n in range(5)]
    metadata.write_text("\n".join(["lesion_id,image_id,dx", *rows]))
    config = pipeline_config(
        trained,
        f"run.path={run}",
        f"evaluate.archive={archive}",
        f"evaluate.metadata={metadata}",
    )
    with pytest.raises(QualityError, match=r"/words/rejects names them\..*\[metadata\.labels\]"):
        evaluate(config, QUIET)
    rejects = pq.read_table(run / "evaluation" / "words" / "rejects")
    assert set(rejects["reason"].to_pylist()) == {"unknown_dx"}


def test_images_that_were_trained_on_are_refused_and_an_earlier_evaluation_stays(
    trained: Path, run: Path
) -> None:
    archive = trained / "archive"
    settings = [
        f"run.path={run}",
        f'evaluate.archive=["{archive / ZIPS[0]}"]',
        f"evaluate.metadata={archive / METADATA}",
    ]
    result, report = evaluate(
        pipeline_config(trained, *settings, "evaluate.allow_leaks=true"), QUIET
    )
    assert result.leaks.images > 0.5 * result.images
    assert "These metrics are too good" in Path(report).read_text()
    before = contents(Path(report).parent)
    with pytest.raises(LeakError, match=r"images share a lesion, an id or a file .*rename those"):
        evaluate(pipeline_config(trained, *settings), QUIET)
    assert contents(Path(report).parent) == before


def test_a_lesion_that_was_trained_on_is_one_by_its_other_id_too(
    trained: Path, run: Path, tmp_path: Path
) -> None:
    """A list that merges it into a lesion of another name does not hide it."""
    dataset = Dataset.read(str(trained / "dataset"))
    (known, *_) = pq.read_table(split_files(dataset, "train")[0])["lesion_id"].to_pylist()
    archive, _ = outside(tmp_path, first=7_000_000)
    rows = [f"A,ISIC_{7_000_000:07},nv", f"{known},ISIC_{7_000_001:07},mel"]
    (tmp_path / "rows.csv").write_text("\n".join(["lesion_id,image_id,dx", *rows]))
    (tmp_path / "same.csv").write_text(",".join(row.split(",")[1] for row in rows))
    settings = [
        f"run.path={run}",
        f"evaluate.archive={archive}",
        f"evaluate.metadata={tmp_path / 'rows.csv'}",
        f"archive.same_lesion={tmp_path / 'same.csv'}",
    ]
    with pytest.raises(LeakError, match=rf"2 of its images .* by listed_lesion.*{known}"):
        evaluate(pipeline_config(trained, *settings), QUIET)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_decision_is_chosen_on_validation_and_kept_by_the_run(
    trained: Path, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`predicted` follows it, here and in scores, until another is chosen."""
    views = "evaluate.tta=flips"
    settings = [f"run.path={run}", views, "decision.rule=costs", "decision.costs.mel=1000"]
    config = pipeline_config(trained, *settings)
    result, report = evaluate(config, QUIET)
    assert result.decision
    model = Predictor.of_run(str(run))
    assert model.weights == tuple(result.decision.weights.values())
    table = pq.read_table(run / "evaluation" / "test" / "predictions")
    found = np.stack([table[probability_column(code)] for code in HAM10000.codes], axis=1)
    expected = [HAM10000.codes[label] for label in decide(found, model.weights)]
    assert table["predicted"].to_pylist() == expected
    assert set(expected) == {"mel"}
    assert result.classes["mel"].sensitivity == 1
    assert result.decision.accuracy > result.model["accuracy"]
    assert "for costs of 1e+03 of a missed mel" in Path(report).read_text()
    pixels = [np.zeros((75, 100, 3), np.uint8).tobytes(), None]
    scored = prediction_columns(pixels, model.load(1), model)
    assert scored["predicted"].to_pylist() == ["mel", None]
    assert "-flips-decided-" in folder_of(model, config.score).path
    assert "were chosen for" not in caplog.text
    assert Predictor.of_run(str(run), tta="none").tta == "none"
    assert "chosen for four mirror images, and probabilities are of the image alone" in caplog.text
    written = (run / "decision.json").read_text()
    edited = json.loads(written)
    edited["weights"]["nv"] *= 1.00001  # as if chosen on another machine
    (run / "decision.json").write_text(json.dumps(edited))
    asked, dataset = config.decision, Dataset.read(config.dataset.path)
    kept = kept_decision(asked, RunFolder(str(run)), model, dataset)
    assert kept
    assert kept.weights == edited["weights"]
    alone = Predictor.of_run(str(run), tta="none", decided=False)
    assert kept_decision(asked, RunFolder(str(run)), alone, dataset) is None
    (run / "decision.json").write_text(written)
    assert known_result(config, "test") == result
    assert known_result(pipeline_config(trained, f"run.path={run}", views), "test") == result
    probable = pipeline_config(trained, f"run.path={run}", "decision.rule=probability")
    assert known_result(probable, "test") is None
    again, _ = evaluate(probable, QUIET)
    assert Predictor.of_run(str(run)).weights == ()
    other = f"run.path={run}", "decision.rule=probability", "decision.sensitivity=0.8"
    assert known_result(pipeline_config(trained, *other), "test") == again
    narrower = pipeline_config(trained, *other, "evaluate.bootstrap_samples=21")
    assert known_result(narrower, "test") is None


def test_a_decision_of_another_model_is_refused(trained: Path, run: Path) -> None:
    folder = RunFolder(str(run))
    rule = DecisionRule(rule="accuracy")
    weights = dict.fromkeys(HAM10000.codes, 1.0)
    folder.write_decision(Decision(asked=rule, weights=weights, model="0" * 64, validation={}))
    with pytest.raises(RunError, match="is of another model than"):
        Predictor.of_run(str(run))
    digest = model_digest((run / "model.keras").read_bytes())
    folder.write_decision(Decision(asked=rule, weights={"a": 1}, model=digest, validation={}))
    with pytest.raises(RunError, match="is of another model than"):
        Predictor.of_run(str(run))
    (run / "decision.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        Predictor.of_run(str(run))
    with pytest.raises(RunError, match="is damaged"):
        preview(pipeline_config(trained, f"run.path={run}"))
    preview(pipeline_config(trained, f"run.path={run}", "decision.rule=accuracy"))  # chosen anew


def test_an_evaluation_that_is_interrupted_leaves_no_metrics_of_other_predictions(
    trained: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one by the stored rule leaves a decision alone that was chosen meanwhile."""
    config = pipeline_config(trained, f"run.path={run}")
    result, _ = evaluate(config, QUIET)
    assert result.validation.keys() == {"accuracy", "balanced_accuracy"}
    folder = RunFolder(str(run))
    rule = DecisionRule(rule="accuracy")
    weights = dict.fromkeys(HAM10000.codes, 1.0)
    chosen = Decision(asked=rule, weights=weights, model=result.digest, validation={})

    def chooses(*values: Any, **named: Any) -> Assessment:
        folder.write_decision(chosen)
        return assess(*values, **named)

    monkeypatch.setattr("skinclf.stages.evaluate.assess", chooses)
    evaluate(config, QUIET)
    assert folder.read_decision(result.digest) == chosen
    monkeypatch.setattr("skinclf.stages.evaluate.assess", None)
    with pytest.raises(TypeError):
        evaluate(config, QUIET)
    assert known_result(config, "test") is None
    assert folder.evaluations() == []


def test_a_set_without_a_name_is_refused() -> None:
    settings = EvaluateConfig(archive=("/",), metadata="folders")
    with pytest.raises(ConfigError, match=r"evaluate\.name: say what the set is called"):
        set_name(settings)


def test_costs_of_an_unknown_class_are_refused_before_spark_starts(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinclf.stages.evaluate.spark_session", None)
    settings = ["decision.rule=costs", "decision.costs.melanoma=10"]
    with pytest.raises(ConfigError, match=r"decision.costs: melanoma is no class"):
        evaluate(pipeline_config(trained, *settings), QUIET)


def test_probabilities_of_views_are_averaged(trained: Path) -> None:
    run = str(trained / "run")
    pixels = np.random.default_rng(5).integers(0, 256, (3, 75, 100, 3), np.uint8)
    plain, mean = (Predictor.of_run(run, tta=tta).load(0) for tta in ("none", "symmetries"))
    views = views_of(pixels, "symmetries")
    assert len(views) == 8
    expected = np.mean([plain(np.ascontiguousarray(view)) for view in views], axis=0)
    np.testing.assert_allclose(mean(pixels), expected, atol=1e-6)


def test_a_model_that_carries_code_is_refused(run: Path) -> None:
    import keras

    layers = [keras.Input((75, 100, 3)), keras.layers.Lambda(lambda pixels: pixels)]
    keras.Sequential(layers).save(run / "model.keras")
    with pytest.raises(RunError, match=r"model\.keras is not loaded: .*Lambda"):
        Predictor.of_run(str(run)).load(threads=0)


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({"split": "val"}, "val"),
        ({"archive": ("a.zip",), "metadata": "isic/GroundTruth.csv"}, "GroundTruth"),
        ({"archive": ("a.zip",), "metadata": "isic/test.csv"}, "outside-test"),
        ({"archive": ("a.zip",), "metadata": "isic/test.csv", "name": "isic"}, "isic"),
        ({"archive": ("a.zip",), "metadata": "s3://b/new truth.csv?region=x"}, "new truth"),
        ({"archive": ("/clinic/.",), "metadata": "folders"}, "clinic"),
    ],
)
def test_each_evaluated_set_has_a_folder_of_its_own(
    settings: dict[str, object], folder: str
) -> None:
    assert set_name(EvaluateConfig.model_validate(settings)) == folder


@pytest.fixture
def without(trained: Path, run: Path, tmp_path: Path) -> Callable[[str, str], Config]:
    """The settings for the run as if its dataset had no images of a class in a split; "": of any
    class.
    """

    def make(split: str, code: str = "", *assignments: str) -> Config:
        manifest = json.loads((trained / "dataset" / "dataset.json").read_text())
        gone = [code] if code else list(manifest["counts"][split])
        for each in gone:
            del manifest["counts"][split][each]
        if not code:
            manifest["files"] = [file for file in manifest["files"] if file["split"] != split]
        for folder in (run, tmp_path / "dataset"):
            folder.mkdir(exist_ok=True)
            (folder / "dataset.json").write_text(json.dumps(manifest))
        own = [f"run.path={run}", f"dataset.path={tmp_path}/dataset"]
        return pipeline_config(trained, *own, *assignments)

    return make


def test_an_empty_split_is_refused_before_spark_starts(without: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.split: \S+ has no test images"):
        preview(without("test"))


def test_a_sensitivity_of_a_class_without_validation_images_is_refused(
    without: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match="no validation image is of mel"):
        preview(without("val", "mel", "decision.rule=sensitivity"))
    preview(without("val", "mel", "decision.rule=balanced_accuracy"))
    assert re.search("no validation image is of .*mel.*: how well these classes", caplog.text)
