"""What a pass over images adds up to, and the metrics that follow. Imports no TensorFlow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skinclf.spec.taxonomy import Taxonomy

SCALARS = 4
"""Sums before those of classes: loss, correct top-1, correct binary outputs (a share an image),
images."""

OF_CLASS = 3
"""Sums of each class: its images, those predicted as it, and those rightly so."""


@dataclass(frozen=True)
class Sums:
    """Sums over images as one vector (4 + 3 · classes,) float64, which workers add up together."""

    vector: NDArray[np.float64]

    @property
    def loss(self) -> float:
        """The sum of the images' losses."""
        return float(self.vector[0])

    @property
    def images(self) -> float:
        """How many images were seen."""
        return float(self.vector[3])

    @property
    def of_classes(self) -> NDArray[np.float64]:
        """(3, classes): OF_CLASS."""
        return self.vector[SCALARS:].reshape(OF_CLASS, -1)

    def metrics(self) -> dict[str, float]:
        """Loss, accuracy, binary and balanced accuracy (mean recall of the classes that occur).

        Empty where no image was seen.
        """
        loss, correct, binary, images = self.vector[:SCALARS]
        if images == 0:
            return {}
        there, _, right = self.of_classes
        recalls = right[there > 0] / there[there > 0]
        return {
            "loss": float(loss / images),
            "accuracy": float(correct / images),
            "binary_accuracy": float(binary / images),
            "balanced_accuracy": float(recalls.mean()),
        }

    def predicted_shares(self, taxonomy: Taxonomy) -> dict[str, float]:
        """`predicted_nv` and so on: the share of the images that is predicted as each class.

        Empty where no image was seen.
        """
        if self.images == 0:
            return {}
        _, predicted, _ = self.of_classes
        shares = predicted / self.images
        return {f"predicted_{code}": float(shares[n]) for n, code in enumerate(taxonomy.codes)}


def length(classes: int) -> int:
    """Of the vector of Sums."""
    return SCALARS + OF_CLASS * classes


def no_sums(classes: int) -> Sums:
    """The sums before the first image."""
    return Sums(np.zeros(length(classes)))
