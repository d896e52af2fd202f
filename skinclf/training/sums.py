"""What a pass over images adds up to, and the metrics that follow. Imports no TensorFlow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skinclf.spec.taxonomy import Taxonomy

SCALARS = 4
"""Sums before the confusion matrix: loss, correct top-1, correct binary outputs (a share an image),
images."""


@dataclass(frozen=True)
class Sums:
    """Sums over images as one vector (4 + classes²,) float64, which workers add up together."""

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
    def confusion(self) -> NDArray[np.float64]:
        """(classes, classes): rows the truth, columns the prediction."""
        classes = round((len(self.vector) - SCALARS) ** 0.5)
        return self.vector[SCALARS:].reshape(classes, classes)

    def metrics(self) -> dict[str, float]:
        """Loss, accuracy, binary and balanced accuracy (mean recall of the classes that occur).

        Empty where no image was seen.
        """
        loss, correct, binary, images = self.vector[:SCALARS]
        if images == 0:
            return {}
        seen = self.confusion.sum(axis=1)
        recalls = self.confusion.diagonal()[seen > 0] / seen[seen > 0]
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
        shares = self.confusion.sum(axis=0) / self.images
        return {f"predicted_{code}": float(shares[n]) for n, code in enumerate(taxonomy.codes)}


def length(classes: int) -> int:
    """Of the vector of Sums."""
    return SCALARS + classes**2


def no_sums(classes: int) -> Sums:
    """The sums before the first image."""
    return Sums(np.zeros(length(classes)))
