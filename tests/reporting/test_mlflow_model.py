import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from pyspark.sql import SparkSession

from skinclf.reporting.mlflow_model import save_model
from skinclf.reporting.tracking import send_to_mlflow
from skinclf.spec.decision import Decision, DecisionRule
from skinclf.spec.image import decode_rgb
from skinclf.storage.run_folder import RunFolder
from skinclf.training.predictor import Predictor
from tests.support.documentation import example
from tests.support.images import jpeg
from tests.support.pipeline import pipeline_config

PAGE = "docs/how-to/serve.md"
CODES = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
COLUMNS = [f"probability_{code}" for code in CODES]
FILES = [jpeg((n * 3, 90, 100)) for n in range(70)]  # more than one batch


@pytest.fixture(autouse=True)
def _path_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow puts the code of a model in front of it."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="module")
def expected(trained: Path) -> np.ndarray:
    pixels = np.stack([decode_rgb(file, max_pixels=10**6) for file in FILES])
    return Predictor.of_run(str(trained / "run")).load(0)(pixels)


@pytest.fixture(scope="module")
def saved(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow") / "model"
    save_model(RunFolder(str(trained / "run")), str(folder))
    return folder


def test_a_saved_model_says_what_it_reads_predicts_and_needs(saved: Path) -> None:
    info = mlflow.models.get_model_info(str(saved))
    assert info.signature is not None
    assert info.signature.inputs.input_names() == ["content"]
    assert info.signature.outputs.input_names() == [*COLUMNS, "predicted"]
    needed = (saved / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in needed}
    assert {"keras", "numpy", "pillow", "pyarrow", "pydantic", "tomli-w"} <= names
    model = mlflow.pyfunc.load_model(str(saved))
    assert not model.predict(model.input_example).isna().any(axis=None)


def test_image_files_become_probabilities_and_what_is_no_image_nulls(
    saved: Path, expected: np.ndarray
) -> None:
    model = mlflow.pyfunc.load_model(str(saved))
    files = pd.DataFrame({"content": [*FILES, b"no image", None, b""]}, index=range(10, 83))
    found = model.predict(files)
    assert list(found.columns) == [*COLUMNS, "predicted"]
    assert list(found.index) == list(range(10, 83))
    assert found[COLUMNS].to_numpy()[:70] == pytest.approx(expected, abs=1e-5)
    assert list(found["predicted"][:70]) == [CODES[n] for n in expected.argmax(axis=1)]
    assert found[70:].isna().all(axis=None)
    assert model.predict(files[70:]).isna().all(axis=None)  # nothing but such


def test_a_saved_model_decides_as_its_run_does(trained: Path, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(trained / "run", tmp_path / "run").as_posix())
    model = Predictor.of_run(run.path)
    weights = dict.fromkeys(CODES, 1.0) | {"mel": 1e6}
    rule = DecisionRule(rule="accuracy")
    run.write_decision(
        Decision(asked=rule, weights=weights, model=model.digest, tta="flips", validation={})
    )
    save_model(run, str(tmp_path / "model"))
    found = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(
        pd.DataFrame({"content": FILES[:3]})
    )
    assert list(found["predicted"]) == ["mel"] * 3
    pixels = np.stack([decode_rgb(file, max_pixels=10**6) for file in FILES[:3]])
    expected = Predictor.of_run(run.path, tta="flips").load(0)(pixels)
    assert found[COLUMNS].to_numpy() == pytest.approx(expected, abs=1e-5)


WHERE = """
import sys
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
import skinclf
print(skinclf.__file__)
"""


def test_a_saved_model_brings_its_code(saved: Path) -> None:
    command = [sys.executable, "-c", WHERE, str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(saved / "code" / "skinclf" / "__init__.py")


def test_a_tracked_run_s_model_is_called_as_the_documentation_says(
    trained: Path,
    expected: np.ndarray,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By load_model and as a Spark UDF, from a tracked copy of the run."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    run_id, uri = tracked(trained, tmp_path)
    Path("lesion.jpg").write_bytes(FILES[0])
    Path("photographs").mkdir()
    for name, file in {"0": FILES[0], "1": FILES[1], "2": b"no image", "3": b"?"}.items():
        Path("photographs", f"{name}.jpg").write_bytes(file)
    names: dict[str, Any] = {"spark": spark}
    before = mlflow.get_tracking_uri()
    try:
        for word in ("load_model", "spark_udf"):
            code = example(PAGE, word).replace("https://mlflow.example.org", uri)
            code = code.replace("runs:/ID", f"runs:/{run_id}")
            exec(code.replace("photographs/", str(tmp_path / "photographs")), names)
            if word == "load_model":
                assert names["scores"][COLUMNS].to_numpy() == pytest.approx(expected[:1], abs=1e-5)
    finally:
        mlflow.set_tracking_uri(before)
    rows = sorted(names["scores"].collect())
    found = [[row[name] for name in COLUMNS] for row in rows]
    assert found[:2] == [pytest.approx(row, abs=1e-5) for row in expected[:2]]
    assert found[2:] == [[None] * 7] * 2
    labels = [CODES[n] for n in expected[:2].argmax(axis=1)]
    assert [row["predicted"] for row in rows] == [*labels, None, None]


def tracked(trained: Path, folder: Path) -> tuple[str, str]:
    """The ID of a run in MLflow, which has what send_to_mlflow sends, and the tracking URI."""
    uri, run = (folder / "mlruns").as_uri(), folder / "run"
    shutil.copytree(trained / "run", run)
    config = pipeline_config(trained, f"run.path={run}", f"mlflow.tracking_uri={uri}")
    send_to_mlflow(config, RunFolder(str(run)))
    run_id: str = json.loads((run / "mlflow.json").read_text())["run_id"]
    assert MlflowClient(uri).get_run(run_id).info.status == "FINISHED"
    return run_id, uri
