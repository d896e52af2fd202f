"""A residual network beside the paper's."""

from collections.abc import Sequence
from typing import Any

GROUPS = 8
"""Of channels that are normalised together: for each image alone, so that what a network computes
does not depend on who else is in a worker's batch (Wu and He, arXiv:1803.08494)."""


def compact(
    images: Any, common: dict[str, Any], dropout: Any, channels: Sequence[int] = (32, 64, 128)
) -> Any:
    """Residual blocks (He et al., arXiv:1512.03385) with group normalisation, 0.5 million
    parameters.
    """
    from keras import layers

    def normalised(images: Any) -> Any:
        images = layers.GroupNormalization(GROUPS, dtype=common["dtype"])(images)
        return layers.ReLU(dtype=common["dtype"])(images)

    images = layers.Conv2D(channels[0], 5, strides=2, padding="same", **common)(images)
    for place, width in enumerate(channels):
        if place:
            images = layers.Conv2D(width, 3, strides=2, padding="same", **common)(images)
        change = images
        for _ in range(2):
            change = layers.Conv2D(width, 3, padding="same", **common)(normalised(change))
        images = layers.Add(dtype=common["dtype"])([images, change])
    return dropout(layers.GlobalAveragePooling2D(dtype=common["dtype"])(normalised(images)))
