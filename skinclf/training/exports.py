"""A run's model in the formats of other runtimes: how each is written, and read to be checked.

In every format the model reads (n, height, width, 3) uint8, RGB, and predicts (n, classes) float32
probabilities in the order of labels.json. Scaling is inside.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from skinclf.errors import ConfigError
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.model import Predict
from skinclf.storage.run_folder import RunFolder
from skinclf.system.stderr import without_lines
from skinclf.training import import_tensorflow
from skinclf.training.frozen_graph import NOISE, graph_of_run, parse_graph
from skinclf.training.openvino_engine import INSTALL, read_graph
from skinclf.training.predictor import read_keras_model


class ExportFormat(NamedTuple):
    """A format of models. The functions import what they need."""

    packages: tuple[str, ...]  # that have to be installed
    install: str  # the command that installs them
    write: Callable[[RunFolder, ImageSpec, Path], None]
    """Write the run's model, which reads such images, to a folder."""
    read: Callable[[Path], Predict]
    """What is in the folder, as its runtime computes it."""


def format_named(name: str) -> ExportFormat:
    """An entry of FORMATS. Raises ConfigError where there is none, or its packages are missing."""
    if name not in FORMATS:
        raise ConfigError(f"--to: there is no {name!r}; known are {', '.join(FORMATS)}")
    found = FORMATS[name]
    missing = [package for package in found.packages if find_spec(package) is None]
    if missing:
        raise ConfigError(f"--to {name}: needs {', '.join(missing)}: {found.install}")
    return found


def versions_of(*packages: str) -> dict[str, str]:
    """The versions of packages by the names under which they are imported."""
    return {package: import_module(package).__version__ for package in packages}


def _write_saved_model(run: RunFolder, image: ImageSpec, folder: Path) -> None:
    _export_by_keras(run, image, folder, "tf_saved_model")


def _read_saved_model(folder: Path) -> Predict:
    import_tensorflow()
    import tensorflow as tf

    model = tf.saved_model.load(folder)
    return lambda pixels: model.serve(pixels).numpy()


def _write_onnx(run: RunFolder, image: ImageSpec, folder: Path) -> None:
    _export_by_keras(run, image, folder / "model.onnx", "onnx")


def _read_onnx(folder: Path) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (pixels_name,) = (given.name for given in session.get_inputs())
    return lambda pixels: session.run(None, {pixels_name: pixels})[0]


def _export_by_keras(run: RunFolder, image: ImageSpec, path: Path, kind: str) -> None:
    import_tensorflow()
    import tensorflow as tf

    model = read_keras_model(run.read_model(), run.path)
    signature = [tf.TensorSpec((None, *image.shape), tf.uint8, name="pixels")]
    with _quiet():
        model.export(str(path), format=kind, verbose=False, input_signature=signature)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the libraries say of themselves while they export."""
    handlers = list(logging.root.handlers)
    with without_lines(NOISE), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras looks whether NumPy is older than 2
        try:
            yield
        finally:  # absl adds one, which would repeat all that is logged
            logging.root.handlers[:] = handlers


def _write_openvino(run: RunFolder, image: ImageSpec, folder: Path) -> None:
    import openvino

    frozen = parse_graph(graph_of_run(run, run.read_model(), image), run.graph)
    model = read_graph(openvino.Core(), frozen.graph)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


def _read_openvino(folder: Path) -> Predict:
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # else bfloat16 on a CPU that has it
    compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", exact)
    return lambda pixels: compiled(pixels)[0]


FORMATS = {
    "savedmodel": ExportFormat(
        ("tensorflow",), "pip install 'skinclf[tf]'", _write_saved_model, _read_saved_model
    ),
    "onnx": ExportFormat(
        ("onnx", "onnxruntime", "tf2onnx"),
        "pip install 'skinclf[onnx]'",
        _write_onnx,
        _read_onnx,
    ),
    "openvino": ExportFormat(("openvino",), INSTALL, _write_openvino, _read_openvino),
}
"""The registry, by the names of `skinclf export --to`."""
