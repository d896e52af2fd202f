"""A run's model on OpenVINO: no TensorFlow in the workers.

A worker starts in 0.2 s of CPU instead of 2.2 and takes 0.33 GB instead of 0.87; float32 is as fast
as TensorFlow's (1.40 and 1.48 ms an image, one thread), bfloat16 takes 0.39 ms.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf.errors import ConfigError, RunError
from skinclf.spec.model import Predict
from skinclf.storage.files import read_bytes
from skinclf.storage.run_folder import RunFolder
from skinclf.training.frozen_graph import FrozenGraph, check_images, graph_of_run, parse_graph
from skinclf.training.predictor import Predictor, check_numbers, mean_of_views

TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1}
"""How far probabilities may be from Keras's in float32. They were 1e-5 off for a network that was
trained for long; in bfloat16 up to 0.02."""

INSTALL = "pip install 'skinclf[openvino]'"


@dataclass(frozen=True)
class OpenVinoPredictor(Predictor):
    """A Predictor whose function is OpenVINO's."""

    graph: str = ""  # SHA-256 of graph.zip

    @classmethod
    def of_predictor(cls, predictor: Predictor) -> "OpenVinoPredictor":
        """The same on OpenVINO, which has to be installed."""
        run = RunFolder(predictor.run)
        graph = graph_of_run(run, run.read_model(), predictor.image)
        return cls(**vars(predictor), graph=hashlib.sha256(graph).hexdigest())

    def load(self, threads: int) -> Predict:
        """The model in this process, read on the first call only, computing on `threads` cores.

        Raises RunError unless it predicts what Keras does.
        """
        return _load(self, threads)


@lru_cache(maxsize=1)  # at module level: it survives from one Spark task to the next
def _load(predictor: OpenVinoPredictor, threads: int) -> Predict:
    path = RunFolder(predictor.run).graph
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != predictor.graph:
        raise RunError(f"{path}: was replaced while the job ran; start it again")
    frozen = parse_graph(content, path)
    if frozen.model != predictor.digest:
        raise RunError(f"{predictor.run}: the model was replaced while the job ran; start it again")
    compiled = _compiled(frozen.graph, threads, predictor.precision)

    def forward(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = compiled(np.ascontiguousarray(pixels))[0]
        return probabilities

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return mean_of_views(forward, pixels, predictor)

    _check(forward(check_images(predictor.image)), frozen, predictor)
    return predict


def _compiled(graph: bytes, threads: int, precision: str) -> Any:
    try:
        import openvino
    except ImportError:
        raise ConfigError(
            f"score.engine: OpenVINO is installed on the driver, but not on this executor: "
            f'{INSTALL} there, too, or score.engine = "tensorflow"'
        ) from None
    core = openvino.Core()
    options = {
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "ENABLE_CPU_PINNING": False,  # the workers of one machine would be pinned to the same core
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    return core.compile_model(read_graph(core, graph), "CPU", options)


def read_graph(core: Any, graph: bytes) -> Any:
    """A frozen graph as a model of OpenVINO's; `core` is an openvino.Core."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.pb"
        file.write_bytes(graph)
        # Not by openvino.convert_model, which reports its use to Intel.
        return core.read_model(file)


def _check(found: NDArray[np.float32], frozen: FrozenGraph, predictor: Predictor) -> None:
    check_numbers(frozen.probabilities, predictor.run)
    difference = float(np.abs(found - frozen.probabilities).max())
    if not difference <= TOLERANCES[predictor.precision]:  # nor where it is no number
        raise RunError(
            f"{predictor.run}: on OpenVINO, probabilities are up to {difference:.2g} from Keras's, "
            f"expected at most {TOLERANCES[predictor.precision]}. Score with TensorFlow: "
            f"--set score.engine=tensorflow"
        )
