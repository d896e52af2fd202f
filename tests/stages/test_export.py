import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from skinclf.config.schema import RunConfig
from skinclf.errors import RunError, StorageError, UsageError
from skinclf.spec.image_spec import BENBRAHIM_2020, ImageSpec
from skinclf.spec.model import Predict
from skinclf.stages.export import export, images_to_compare
from skinclf.storage.run_folder import RunFolder
from skinclf.training.exports import FORMATS, ExportFormat
from skinclf.training.predictor import Predictor
from tests.support.command import Command
from tests.support.documentation import example
from tests.support.images import jpeg

PAGE = "docs/how-to/serve.md"

FILES = {
    "savedmodel": {"saved_model.pb", "variables/variables.index"},
    "onnx": {"model.onnx"},
    "openvino": {"model.xml", "model.bin"},
}


@pytest.fixture
def skinclf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("to", "word"),
    [
        ("savedmodel", "tf.saved_model"),
        pytest.param(
            *("onnx", "onnxruntime"),
            marks=pytest.mark.skipif(find_spec("tf2onnx") is None, reason="needs the extra onnx"),
        ),
        pytest.param(
            *("openvino", "openvino"),
            marks=pytest.mark.skipif(
                find_spec("openvino") is None, reason="needs the extra openvino"
            ),
        ),
    ],
)
def test_an_exported_model_predicts_what_keras_does_as_the_documentation_calls_it(
    skinclf: Command,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    word: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = str(trained / "run")
    done = skinclf("export", "--run", run, "--to", to, "--output", f"exports/{to}")
    assert done.returncode == 0, done.stderr
    assert "from Keras's (" in done.stdout
    folder = tmp_path / "exports" / to
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*")}
    assert FILES[to] | {"labels.json", "export.json"} <= files

    Path("lesion.jpg").write_bytes(jpeg((90, 60, 50), (100, 75)))
    names: dict[str, Any] = {}
    exec(example(PAGE, "np.newaxis").replace("exports/onnx", f"exports/{to}"), names)
    exec(example(PAGE, word), names)
    predictor = Predictor.of_run(run)
    expected = predictor.load(0)(names["pixels"])
    assert names["probabilities"] == pytest.approx(expected, abs=1e-5)
    assert names["probabilities"].dtype == np.float32
    many = np.random.default_rng(1).integers(0, 256, (70, 75, 100, 3), np.uint8)
    assert FORMATS[to].read(folder)(many) == pytest.approx(predictor.load(0)(many), abs=1e-5)

    said = json.loads((folder / "export.json").read_text())
    assert said["format"] == to
    assert said["model"] == predictor.digest
    assert said["classes"] == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    assert (said["height"], said["width"]) == (75, 100)
    assert 0 <= said["largest_difference"] < 1e-5
    assert set(said["versions"]) == {"skinclf", "keras", "tensorflow", *FORMATS[to].packages}


def test_photographs_are_compared_where_the_dataset_is_still_there(
    trained: Path, tmp_path: Path
) -> None:
    images = images_to_compare(RunFolder(str(trained / "run")))
    assert images.shape[1:] == BENBRAHIM_2020.shape
    assert 8 < len(images) <= 8 + 56
    shutil.copytree(trained / "run", tmp_path / "run")
    config = tmp_path / "run" / "config.toml"
    config.write_text(config.read_text().replace(f"{trained}/dataset", f"{tmp_path}/gone"))
    assert len(images_to_compare(RunFolder(str(tmp_path / "run")))) == 8


def as_wrong(probability: float) -> ExportFormat:
    """A format whose runtime gives every class the same probability."""

    def write(_run: RunFolder, _image: ImageSpec, folder: Path) -> None:
        (folder / "model.wrong").write_bytes(b"wrong")

    def read(_folder: Path) -> Predict:
        return lambda pixels: np.full((len(pixels), 7), probability, np.float32)

    return ExportFormat((), "", write, read)


@pytest.mark.parametrize("probability", [0.9, float("nan")])
def test_a_model_that_predicts_something_else_is_not_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probability: float
) -> None:
    monkeypatch.setitem(FORMATS, "wrong", as_wrong(probability))
    with pytest.raises(RunError, match=r"from Keras's, expected at most 0\.0001"):
        export(RunConfig(path=str(trained / "run")), "wrong", str(tmp_path / "exports"))
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_a_format_can_t_hold_is_one_message(
    skinclf: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_run: RunFolder, _image: ImageSpec, _folder: Path) -> None:
        raise NotImplementedError("no operator\nfor this layer")

    monkeypatch.setitem(FORMATS, "wrong", ExportFormat((), "", write, as_wrong(0.9).read))
    output = str(tmp_path / "exports")
    done = skinclf("export", "--run", str(trained / "run"), "--to", "wrong", "--output", output)
    assert done.returncode == 2
    assert (
        "can't be exported: NotImplementedError: no operator for this layer. Nothing" in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_can_t_be_finished_leaves_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, _value: object) -> None:
        raise StorageError(f"{path}: can't be written: disk full")

    monkeypatch.setattr("skinclf.stages.export.write_json", full)
    with pytest.raises(StorageError, match="disk full"):
        export(RunConfig(path=str(trained / "run")), "savedmodel", str(tmp_path / "exports"))
    assert list(tmp_path.iterdir()) == []


def test_what_can_t_be_exported_is_one_message_that_says_what_to_do(
    skinclf: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, output = str(trained / "run"), str(tmp_path / "exports")
    unfinished = str(tmp_path / "unfinished")
    monkeypatch.setattr(
        "skinclf.training.exports.find_spec", lambda name: None if name == "tf2onnx" else name
    )
    for arguments, told in [
        (
            ["--run", run, "--to", "keras", "--output", output],
            "--to: there is no 'keras'; known are savedmodel, onnx, openvino",
        ),
        (
            ["--run", run, "--to", "onnx", "--output", output],
            "--to onnx: needs tf2onnx: pip install 'skinclf[onnx]'",
        ),
        (
            ["--run", unfinished, "--to", "savedmodel", "--output", output],
            f"{unfinished}: no finished model here",
        ),
        (
            ["--run", run, "--to", "savedmodel", "--output", str(tmp_path)],
            f"{tmp_path}: exists. Name another folder: --output PATH",
        ),
        (["--run", run, "--to", "savedmodel"], "Missing option '--output'"),
    ]:
        done = skinclf("export", *arguments)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert not Path(output).exists()


def test_an_export_that_another_one_overtakes_writes_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"

    def overtaken(*_: object) -> NDArray[np.float32]:
        output.mkdir()
        (output / "theirs").write_text("")
        images = images_to_compare(RunFolder(str(trained / "run")))
        return Predictor.of_run(str(trained / "run")).load(0)(images)

    monkeypatch.setattr("skinclf.stages.export._written_and_run", overtaken)
    with pytest.raises(UsageError, match="out: exists"):
        export(RunConfig(path=str(trained / "run")), "savedmodel", str(output))
    assert [path.name for path in output.iterdir()] == ["theirs"]
