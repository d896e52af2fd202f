import hashlib
import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from skinclf.config.loader import load_config
from skinclf.config.schema import ModelConfig
from skinclf.errors import ConfigError, RunError, StorageError
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.taxonomy import HAM10000
from skinclf.stages import evaluate, score
from skinclf.storage.run_folder import Labels, RunFolder, model_digest
from skinclf.training import engines
from skinclf.training.engines import predictor_for
from skinclf.training.frozen_graph import check_images, freeze, parse_graph
from skinclf.training.networks import NETWORKS, build_network
from skinclf.training.predictor import Predictor

openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs the extra openvino")


def finished_run(folder: Path, name: str = "tiny") -> tuple[RunFolder, keras.Model]:
    """A run with a network of random weights: larger ones than at the start of a training, so
    that probabilities are not all alike.
    """
    network = build_network(ModelConfig(name=name), BENBRAHIM_2020, 7, dropout=0.5)
    random = np.random.default_rng(3)
    network.set_weights([w + random.normal(0, 0.03, w.shape) for w in network.get_weights()])
    network.save(folder / "model.keras")
    run = RunFolder(str(folder))
    content = (folder / "model.keras").read_bytes()
    run.write_model(content, Labels(HAM10000, BENBRAHIM_2020), network.count_params())
    (folder / "config.toml").write_text(f'[model]\nname = "{name}"\n')
    return run, network


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return finished_run(tmp_path)[0]


@openvino
@pytest.mark.parametrize("name", NETWORKS)
def test_openvino_predicts_what_keras_does(tmp_path: Path, name: str) -> None:
    run, network = finished_run(tmp_path, name)
    pixels = np.random.default_rng(1).integers(0, 256, (70, 75, 100, 3), np.uint8)
    pixels[:35] //= 3
    predict = predictor_for(run.path, "openvino").load(1)
    expected = network(pixels, training=False).numpy()
    assert expected.std(axis=0).max() > 1e-3  # they are not all alike
    assert np.abs(predict(pixels) - expected).max() < 1e-5
    assert np.abs(predict(pixels[:1]) - expected[:1]).max() < 1e-5
    rough = predictor_for(run.path, "openvino", "bfloat16").load(1)
    assert np.abs(rough(pixels) - expected).max() < 0.1


@pytest.mark.parametrize("engine", ["tensorflow", pytest.param("openvino", marks=openvino)])
def test_a_network_that_gives_no_numbers_is_refused(tmp_path: Path, engine: str) -> None:
    run, network = finished_run(tmp_path)
    network.set_weights([np.full_like(weights, np.nan) for weights in network.get_weights()])
    network.save(tmp_path / "model.keras")
    with pytest.raises(RunError, match=r"gives no numbers \(NaN\) for \d of \d images"):
        predictor_for(run.path, engine).load(1)(check_images(BENBRAHIM_2020))


def test_without_tensorflow_and_openvino_nothing_is_predicted(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("skinclf.training", "skinclf.training.engines"):
        monkeypatch.setattr(f"{module}.find_spec", lambda _: None)
    for engine in ("auto", "tensorflow"):
        config = load_config(None, [f"run.path={run}", f"score.engine={engine}"])
        for stage in (score.preview, evaluate.preview):
            with pytest.raises(
                ConfigError, match=r"tensorflow is not installed in .*: pip install"
            ):
                stage(config)


@openvino
def test_openvino_takes_the_mean_of_the_same_views(run: RunFolder) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 75, 100, 3), np.uint8)
    ours, theirs = (
        predictor_for(run.path, engine, tta="symmetries").load(1)(pixels)
        for engine in ("openvino", "tensorflow")
    )
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_preview_refuses_an_engine_that_is_not_installed(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    settings = [f"run.path={run.path}", "score.archive=x.zip", "score.engine=openvino"]
    for preview in (score.preview, evaluate.preview):
        with pytest.raises(ConfigError, match="OpenVINO is not installed"):
            preview(load_config(None, settings))


LOAD = """
import pickle, sys
import numpy as np
predictor = pickle.loads(bytes.fromhex(sys.argv[1]))
predictor.load(1)(np.zeros((2, 75, 100, 3), np.uint8))
assert not {"tensorflow", "keras"} & set(sys.modules)
"""


@openvino
def test_a_worker_needs_no_tensorflow(run: RunFolder) -> None:
    predictor = pickle.dumps(predictor_for(run.path, "auto"))
    subprocess.run([sys.executable, "-c", LOAD, predictor.hex()], check=True)


@openvino
def test_a_graph_that_does_not_predict_what_keras_does_is_refused(run: RunFolder) -> None:
    predictor = predictor_for(run.path, "auto")
    other = finished_run(Path(run.path), "compact")[1]
    other.save(Path(run.path) / "other.keras")
    # The graph of another network under this one's name, as after a copy gone wrong.
    stored = parse_graph(Path(run.graph).read_bytes(), "")
    wrong = freeze((Path(run.path) / "other.keras").read_bytes(), BENBRAHIM_2020, "")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("graph.pb", parse_graph(wrong, "").graph)
        check = {"model": stored.model, "probabilities": stored.probabilities.tolist()}
        archive.writestr("check.json", json.dumps(check))
    Path(run.graph).write_bytes(file.getvalue())
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    with pytest.raises(RunError, match=r"from Keras's, .* --set score.engine=tensorflow"):
        replace(predictor, graph=digest).load(1)  # type: ignore[call-arg]
    with pytest.raises(RunError, match="was replaced while the job ran"):
        predictor.load(1)


@openvino
def test_a_run_without_a_graph_or_with_another_model_s_is_given_one(run: RunFolder) -> None:
    graph, pixels = Path(run.graph), np.zeros((1, 75, 100, 3), np.uint8)
    expected = predictor_for(run.path, "auto").load(1)(pixels)
    first = graph.read_bytes()
    for damaged in (b"", first[:1000], freeze_of_other(Path(run.path))):
        graph.write_bytes(damaged)
        assert predictor_for(run.path, "auto").load(1)(pixels) == pytest.approx(expected)
        assert parse_graph(graph.read_bytes(), "").model == model_digest(run.read_model())
    whole = graph.read_bytes()
    predictor_for(run.path, "auto")
    assert graph.read_bytes() == whole  # one that fits is kept


def freeze_of_other(folder: Path) -> bytes:
    other = folder / "other"
    other.mkdir()
    run, _ = finished_run(other, "compact")
    return freeze(run.read_model(), BENBRAHIM_2020, "")


def test_the_check_images_are_the_same_everywhere_and_from_fine_to_coarse() -> None:
    images = check_images(BENBRAHIM_2020)
    assert images.shape == (8, 75, 100, 3)
    assert images[:, 0, 0, 0].tolist() == [10, 139, 196, 38, 36, 110, 237, 158]
    assert images[2, :4, :4, 0].min() == images[2, :4, :4, 0].max()


def test_without_openvino_auto_is_tensorflow_and_asking_for_it_tells_what_to_install(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    assert type(predictor_for(run.path, "auto")) is Predictor
    with pytest.raises(ConfigError, match=r"pip install 'skinclf\[openvino\]'"):
        predictor_for(run.path, "openvino")


@openvino
def test_an_executor_without_openvino_is_told_what_to_install(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictor_for(run.path, "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"not on this executor: pip install .* there, too"):
        predictor.load(1)


@openvino
def test_a_run_that_can_t_be_written_is_scored_with_tensorflow(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("graph.zip: can't be written: read-only")

    monkeypatch.setattr("skinclf.training.openvino_engine.graph_of_run", refuse)
    with caplog.at_level("INFO"):
        assert type(predictor_for(run.path, "auto")) is Predictor
    assert "the run can't be given its graph: graph.zip: can't be written" in caplog.text
    with pytest.raises(StorageError):
        predictor_for(run.path, "openvino")
