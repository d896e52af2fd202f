"""The networks: the paper's, and a residual one beside it."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from skinclf.config.schema import ModelConfig
from skinclf.spec.tables import CHANNELS, HEIGHT, WIDTH
from skinclf.spec.taxonomy import CODES

PARAMETERS = 788_551
"""Benbrahim, Hachimi and Amine (2020), table 6.1."""

GROUPS = 8
"""Of channels that are normalised together: for each image alone, so that what a network computes
does not depend on who else is in a worker's batch (Wu and He, arXiv:1803.08494)."""


def build_network(config: ModelConfig, dropout: float, precision: str = "float32") -> keras.Model:
    """The network that `config` names, with fresh weights.

    Takes (n, 75, 100, 3) pixels, 0–255, any numeric dtype: scaling is inside, so that nobody can
    forget it. Returns (n, 7) float32 probabilities in the order of labels.CODES.

    `precision` "bfloat16" computes in it, with float32 weights, input scaling and softmax;
    "float64" is for checks. The weights fit the network of every precision.
    """
    inner = "mixed_bfloat16" if precision == "bfloat16" else precision
    outer = "float64" if precision == "float64" else "float32"
    scaling = {"scale": 1 / 127.5, "offset": -1.0} if config.centred else {"scale": 1 / 255}
    common = {"kernel_initializer": config.initializer, "dtype": inner}
    pixels = keras.Input((HEIGHT, WIDTH, CHANNELS), dtype="float32")
    scaled = layers.Rescaling(**scaling, name="scaling", dtype=outer)(pixels)
    body = _paper if config.name == "paper" else _compact
    features = body(scaled, common, layers.Dropout(dropout, name="dropout", dtype=inner))
    probabilities = layers.Dense(len(CODES), activation="softmax", dtype=outer)(features)
    return keras.Model(pixels, probabilities, name=config.name)


def _paper(images: Any, common: dict[str, Any], dropout: keras.Layer) -> Any:
    """The CNN of Benbrahim, Hachimi and Amine (2020), table 6.1.

    Padding is valid throughout: the paper's pooling rows follow from nothing else.
    """
    for channels in (64, 64, 128, 128):
        images = layers.Conv2D(channels, 3, activation="relu", **common)(images)
        images = layers.MaxPooling2D(dtype=common["dtype"])(images)
    flat = dropout(layers.Flatten(dtype=common["dtype"])(images))
    return layers.Dense(512, activation="relu", **common)(flat)


def _compact(
    images: Any,
    common: dict[str, Any],
    dropout: keras.Layer,
    channels: Sequence[int] = (32, 64, 128),
) -> Any:
    """Residual blocks (He et al., arXiv:1512.03385) with group normalisation, 0.5 million
    parameters.
    """
    images = layers.Conv2D(channels[0], 5, strides=2, padding="same", **common)(images)
    for place, width in enumerate(channels):
        if place:
            images = layers.Conv2D(width, 3, strides=2, padding="same", **common)(images)
        change = images
        for _ in range(2):
            change = layers.GroupNormalization(GROUPS, dtype=common["dtype"])(change)
            change = layers.ReLU(dtype=common["dtype"])(change)
            change = layers.Conv2D(width, 3, padding="same", **common)(change)
        images = layers.Add(dtype=common["dtype"])([images, change])
    images = layers.ReLU(dtype=common["dtype"])(
        layers.GroupNormalization(GROUPS, dtype=common["dtype"])(images)
    )
    return dropout(layers.GlobalAveragePooling2D(dtype=common["dtype"])(images))
