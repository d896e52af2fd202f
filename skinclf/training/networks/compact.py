"""A residual network beside the paper's."""

from collections.abc import Sequence
from typing import Any

LARGE = 128
"""Pixels of height or width from which on the first layers halve images twice: an image of 150x200
then costs as much as one of 75x100."""


def compact(
    images: Any,
    common: dict[str, Any],
    dropout: Any,
    channels: Sequence[int] = (32, 64, 128, 256),
) -> Any:
    """Residual blocks (He et al., arXiv:1603.05027), one for each of `channels`, with batch
    normalization, 1.2 million parameters.

    The statistics are those of the whole global batch: all workers add up theirs, so that what is
    learned does not depend on how many there are.
    """
    from keras import layers

    dtype = common["dtype"]

    def normalized(images: Any) -> Any:
        images = layers.BatchNormalization(synchronized=True, dtype=dtype)(images)
        return layers.ReLU(dtype=dtype)(images)

    def convolution(width: int, size: int, strides: int = 1) -> Any:
        # A normalization follows, which takes any bias away.
        return layers.Conv2D(width, size, strides=strides, padding="same", use_bias=False, **common)

    height, wide = images.shape[1:3]
    images = convolution(channels[0], 5, strides=2)(images)
    if max(height, wide) >= LARGE:
        images = layers.MaxPooling2D(3, strides=2, padding="same", dtype=dtype)(images)
    for place, width in enumerate(channels):
        strides = 2 if place else 1
        begun = normalized(images)
        change = convolution(width, 3, strides)(begun)
        change = convolution(width, 3)(normalized(change))
        if place:
            smaller = layers.AveragePooling2D(2, padding="same", dtype=dtype)(begun)
            images = convolution(width, 1)(smaller)
        images = layers.Add(dtype=dtype)([images, change])
    return dropout(layers.GlobalAveragePooling2D(dtype=dtype)(normalized(images)))
