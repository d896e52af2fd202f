import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from skinclf import run_folder
from skinclf.dataset_folder import Dataset
from skinclf.errors import RunError
from skinclf.learn.predictor import Predictor
from skinclf.learn.shards import pixel_array
from skinclf.schemas import PREDICTIONS
from skinclf.stages.evaluate import evaluate
from tests.conftest import road_config

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def evaluated(trained: Path) -> Path:
    evaluate(road_config(trained), QUIET)
    return trained / "run" / "evaluation"


def test_every_image_of_the_test_split_is_predicted_once(trained: Path, evaluated: Path) -> None:
    table = pq.read_table(evaluated / "predictions-test")
    dataset = Dataset.read(str(trained / "dataset"))
    assert table.schema.names == PREDICTIONS.names
    assert table.num_rows == sum(dataset.rows_of("test")) == len(set(table["image_id"].to_pylist()))
    (model,) = set(table["model"].to_pylist())
    assert model == run_folder.model_digest((trained / "run" / "model.keras").read_bytes())


def test_predictions_are_those_of_the_model_on_the_tensors(trained: Path, evaluated: Path) -> None:
    dataset = Dataset.read(str(trained / "dataset"))
    shard = pq.read_table(f"{dataset.path}/{dataset.files_of('test')[0].path}")
    pixels = pixel_array(shard["pixels"].combine_chunks())
    expected = Predictor.of_run(str(trained / "run")).load(threads=0)(pixels)
    predicted = {
        r["image_id"]: r for r in pq.read_table(evaluated / "predictions-test").to_pylist()
    }
    found = [
        [predicted[image_id][f"probability_{code}"] for code in dataset.classes]
        for image_id in shard["image_id"].to_pylist()
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_metrics_stand_beside_the_baseline(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics-test.json").read_text())
    assert metrics["model"].keys() == metrics["baseline"].keys()
    present = sum(row["images"] > 0 for row in metrics["classes"].values())
    assert metrics["baseline"]["balanced_accuracy"] == pytest.approx(1 / present)
    assert sum(map(sum, metrics["confusion"])) == metrics["images"]


def test_the_report_holds_its_pictures_and_reaches_for_nothing(evaluated: Path) -> None:
    page = (evaluated / "report-test.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "always answering nv" in page
    assert not [word for word in ("http:", "https:", "<script", "<link") if word in page]


def test_a_run_without_a_model_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished model here"):
        evaluate(road_config(trained, f"run.path={tmp_path}"), QUIET)
