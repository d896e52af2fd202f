"""What a model makes of an image before it decides: for asking which images it takes for alike."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from skinclf.storage.run_folder import RunFolder
from skinclf.training import import_tensorflow
from skinclf.training.predictor import as_graph, read_keras_model

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(n, height, width, 3) uint8 RGB → (n, features) float32: the input of the last layer."""


@dataclass(frozen=True)
class Embedding:
    """Where a model lies and which one it must be: small enough to go to every Spark task."""

    run: str
    digest: str

    def load(self, threads: int) -> Embed:
        """The model in this process, read on the first call only, computing on `threads` cores."""
        return _load(self, threads)


@lru_cache(maxsize=1)  # at module level: it survives from one Spark task to the next
def _load(embedding: Embedding, threads: int) -> Embed:
    import_tensorflow()
    import keras

    from skinclf.training.strategy import limit_threads

    limit_threads(threads)
    content = RunFolder(embedding.run).read_model(embedding.digest)
    whole = read_keras_model(content, embedding.run)
    forward = as_graph(keras.Model(whole.inputs, whole.layers[-1].input), whole.inputs[0].shape[1:])

    def embed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(forward(pixels), np.float32).reshape(len(pixels), -1)

    return embed
