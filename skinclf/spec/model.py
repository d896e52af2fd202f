"""A model as jobs see it: what it reads, what it gives, and nothing of its network."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.taxonomy import Taxonomy
from skinclf.spec.views import Tta

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(n, height, width, 3) uint8 RGB → (n, classes) float32 probabilities in the taxonomy's order."""


class ModelLoader(Protocol):
    """What a task needs of a model: what it reads and predicts, and the function once loaded."""

    @property
    def digest(self) -> str:
        """The model's SHA-256."""

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes of its outputs."""

    @property
    def image(self) -> ImageSpec:
        """The images that it reads."""

    @property
    def tta(self) -> Tta:
        """The views over which its predictions are means."""

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the classes, as `spec.decision.decide` takes them."""

    def load(self, threads: int) -> Predict:
        """The function, which computes on `threads` cores."""
