"""A network that trains in seconds, for tests of the code around it."""

from typing import Any


def tiny(images: Any, common: dict[str, Any], dropout: Any) -> Any:
    """One strided convolution, 8 channels, and their means: some 900 parameters."""
    from keras import layers

    images = layers.Conv2D(8, 5, strides=4, activation="relu", **common)(images)
    return dropout(layers.GlobalAveragePooling2D(dtype=common["dtype"])(images))
