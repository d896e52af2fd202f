"""The network of Benbrahim, Hachimi and Amine (2020), table 6.1."""

from typing import Any

PARAMETERS = 788_551
"""At 75x100 with 7 classes, as the table has it."""


def benbrahim2020(images: Any, common: dict[str, Any], dropout: Any) -> Any:
    """Four convolutions with pooling, then two dense layers.

    Padding is valid throughout: the table's pooling rows follow from nothing else.
    """
    from keras import layers

    for channels in (64, 64, 128, 128):
        images = layers.Conv2D(channels, 3, activation="relu", **common)(images)
        images = layers.MaxPooling2D(dtype=common["dtype"])(images)
    flat = dropout(layers.Flatten(dtype=common["dtype"])(images))
    return layers.Dense(512, activation="relu", **common)(flat)
