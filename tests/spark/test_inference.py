from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from skinclf.config.schema import ArchiveConfig
from skinclf.errors import UsageError
from skinclf.spark.inference import with_scores
from skinclf.spec.image import decode_rgb
from skinclf.spec.taxonomy import HAM10000, probability_column
from skinclf.training.predictor import Predictor
from tests.support.documentation import example
from tests.support.images import jpeg

FROM_PYTHON = "docs/how-to/from-python.md"
FILES = [jpeg((n * 40, 90, 100)) for n in range(5)]


def probabilities(frame: DataFrame) -> dict[int, list[float]]:
    return {
        row["id"]: [row[probability_column(code)] for code in HAM10000.codes]
        for row in frame.collect()
    }


@pytest.fixture(scope="module")
def predictor(trained: Path) -> Predictor:
    return Predictor.of_run(str(trained / "run"))


@pytest.fixture(scope="module")
def expected(predictor: Predictor) -> np.ndarray:
    pixels = np.stack([decode_rgb(file, max_pixels=10**6) for file in FILES])
    return predictor.load(threads=0)(pixels)


def test_bytes_in_any_frame_get_scores_or_a_reason_and_every_row_stays(
    spark: SparkSession, predictor: Predictor, expected: np.ndarray
) -> None:
    rows = [*enumerate(FILES), (5, b"no image"), (6, None)]
    frame = with_scores(spark.createDataFrame(rows, "id int, content binary"), predictor).cache()
    found = probabilities(frame)
    assert len(found) == 7
    for number in range(5):
        assert found[number] == pytest.approx(expected[number], abs=1e-5)
    assert found[5] == found[6] == [None] * 7
    reasons = {row["id"]: row["reject"] for row in frame.collect()}
    assert reasons[5].startswith("unreadable")
    assert reasons[6].startswith("empty")
    assert reasons[0] is None
    assert frame.where("predicted IS NULL").count() == 2


def test_the_caller_s_limits_hold(spark: SparkSession, predictor: Predictor) -> None:
    frame = spark.createDataFrame([*enumerate(FILES)], "id int, content binary")
    scored = with_scores(frame, predictor, limits=ArchiveConfig(max_pixels=100)).collect()
    assert {row["reject"].partition(":")[0] for row in scored} == {"too_large"}


def test_a_run_is_found_from_any_folder(
    predictor: Predictor, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    assert Predictor.of_run("run") == predictor  # a task runs in a folder of its own


def test_structs_and_tensors_are_images_too(
    spark: SparkSession, predictor: Predictor, expected: np.ndarray
) -> None:
    structs = [(n, {"bytes": file, "path": f"{n}.jpg"}) for n, file in enumerate(FILES)]
    frame = spark.createDataFrame(structs, "id int, image struct<bytes: binary, path: string>")
    scored = with_scores(frame, predictor, "image", batch_size=2)
    tensors = [(n, decode_rgb(file, max_pixels=10**6).tobytes()) for n, file in enumerate(FILES)]
    frame = spark.createDataFrame([*tensors, (5, b"short")], "id int, pixels binary")
    by_pixels = probabilities(with_scores(frame, predictor, "pixels"))
    assert by_pixels.pop(5) == [None] * 7
    for found in (probabilities(scored), by_pixels):
        for number in range(5):
            assert found[number] == pytest.approx(expected[number], abs=1e-5)


def test_bfloat16_gives_all_but_the_same_probabilities(
    predictor: Predictor, expected: np.ndarray
) -> None:
    rough = replace(predictor, precision="bfloat16").load(threads=0)
    pixels = np.stack([decode_rgb(file, max_pixels=10**6) for file in FILES])
    found = rough(pixels)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.03
    assert not np.array_equal(found, expected)


def test_the_documented_example_runs(
    spark: SparkSession, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n, file in enumerate(FILES):
        (tmp_path / f"{n}.jpg").write_bytes(file)
    code = example(FROM_PYTHON, "binaryFile").replace("photographs/", str(tmp_path))
    code = code.replace("runs/first", str(trained / "run")).replace("'mel'", "'nv'")
    exec(code, {"spark": spark})
    assert "probability_mel" in capsys.readouterr().out


def test_the_documented_way_without_spark_predicts(
    trained: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lesion.jpg").write_bytes(FILES[0])
    names: dict[str, object] = {}
    exec(example(FROM_PYTHON, "np.newaxis").replace("runs/first", str(trained / "run")), names)
    assert names["probabilities"] == pytest.approx(expected[:1], abs=1e-5)


def test_columns_that_would_be_there_twice_are_told(
    spark: SparkSession, predictor: Predictor
) -> None:
    frame = spark.createDataFrame([(b"", "x")], "content binary, predicted string")
    with pytest.raises(UsageError, match="predicted would be added: rename or drop"):
        with_scores(frame, predictor)
    with pytest.raises(UsageError, match="there is no column picture"):
        with_scores(frame.drop("predicted"), predictor, "picture")
    with pytest.raises(UsageError, match="; model would be added"):
        with_scores(frame.selectExpr("content", "1 AS Model"), predictor)
    with pytest.raises(UsageError, match="column path is string; the bytes of image files are"):
        with_scores(frame.selectExpr("'a.jpg' AS path"), predictor, "path")
    with pytest.raises(UsageError, match="column image is struct<data:binary>"):
        with_scores(frame.selectExpr("struct(content AS data) AS image"), predictor, "image")
