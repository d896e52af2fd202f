"""The network as one graph without Keras, and what it has to predict: for other engines.

graph.zip beside model.keras holds
  graph.pb      TensorFlow's frozen graph: uint8 pixels in, probabilities out
  check.json    the digest of model.keras, and Keras's probabilities for `check_images`
"""

import io
import json
import zipfile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skinclf.errors import RunError
from skinclf.spec.image_spec import ImageSpec
from skinclf.storage.files import exists, read_bytes
from skinclf.storage.run_folder import RunFolder, model_digest
from skinclf.system.stderr import without_lines
from skinclf.system.zip_errors import ZIP_ERRORS
from skinclf.training import import_tensorflow
from skinclf.training.predictor import as_graph, read_keras_model

NOISE = (r"^I0000 .* (devices|single_machine)\.cc:",)
"""What TensorFlow's optimizer of graphs writes of the machine whenever it runs."""

GRAPH, CHECK = "graph.pb", "check.json"


class FrozenGraph(NamedTuple):
    """What graph.zip holds."""

    model: str  # the digest of the model.keras that it was made of
    graph: bytes
    probabilities: NDArray[np.float32]  # (8, classes): of check_images, by Keras


def check_images(image: ImageSpec) -> NDArray[np.uint8]:
    """(8, height, width, channels) uint8: the same everywhere, noise from fine to coarse."""
    random = np.random.default_rng(2020)
    height, width, channels = image.shape
    images = []
    for grain in (1, 1, 4, 4, 16, 16, 64, 64):
        coarse = random.integers(0, 256, (-(-height // grain), -(-width // grain), channels))
        fine = coarse.repeat(grain, axis=0).repeat(grain, axis=1)
        images.append(fine[:height, :width].astype(np.uint8))
    return np.stack(images)


def freeze(content: bytes, image: ImageSpec, run: str) -> bytes:
    """graph.zip of a model.keras. Imports TensorFlow; raises RunError where Keras can't read it."""
    import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    forward = as_graph(read_keras_model(content, run), image.shape)
    with without_lines(NOISE):
        constants = convert_variables_to_constants_v2(forward.get_concrete_function())
    found = forward(check_images(image)).numpy()
    check = {"model": model_digest(content), "probabilities": found.tolist()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(GRAPH), constants.graph.as_graph_def().SerializeToString())
        archive.writestr(zipfile.ZipInfo(CHECK), json.dumps(check))
    return file.getvalue()


def parse_graph(content: bytes, source: str) -> FrozenGraph:
    """The parts of graph.zip. Raises RunError, which names `source`, where it is damaged."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        check = json.loads(archive.read(CHECK))
        probabilities = np.array(check["probabilities"], np.float32)
        return FrozenGraph(check["model"], archive.read(GRAPH), probabilities)
    except (*ZIP_ERRORS, KeyError, TypeError) as error:
        raise RunError(f"{source}: is damaged: {error}") from None


def graph_of_run(run: RunFolder, content: bytes, image: ImageSpec) -> bytes:
    """The run's graph.zip; made now where there is none of its model.keras, `content`."""
    if exists(run.graph):
        stored = read_bytes(run.graph)
        try:
            if parse_graph(stored, run.graph).model == model_digest(content):
                return stored
        except RunError:
            pass  # made anew
    made = freeze(content, image, run.path)
    run.write_graph(made)
    return made
