"""The paper's network."""

import keras
from keras import layers

from skinclf.labels import CODES
from skinclf.schemas import CHANNELS, HEIGHT, WIDTH

PARAMETERS = 788_551
"""Benbrahim, Hachimi and Amine (2020), table 6.1."""


def build_network(dropout: float, precision: str = "float32") -> keras.Sequential:
    """The CNN of Benbrahim, Hachimi and Amine (2020), table 6.1, with fresh weights.

    Takes (n, 75, 100, 3) pixels, 0–255, any numeric dtype: scaling to 0–1 is inside, so that
    nobody can forget it. Returns (n, 7) float32 probabilities in the order of labels.CODES.
    Padding is valid throughout: the paper's pooling rows follow from nothing else.

    `precision` "bfloat16" computes in it, with float32 weights, input scaling and softmax;
    "float64" is for checks. The weights fit the network of every precision.
    """
    inner = "mixed_bfloat16" if precision == "bfloat16" else precision
    outer = "float64" if precision == "float64" else "float32"
    return keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, CHANNELS), dtype="float32"),
            layers.Rescaling(1 / 255, dtype=outer),
            layers.Conv2D(64, 3, activation="relu", dtype=inner),
            layers.MaxPooling2D(dtype=inner),
            layers.Conv2D(64, 3, activation="relu", dtype=inner),
            layers.MaxPooling2D(dtype=inner),
            layers.Conv2D(128, 3, activation="relu", dtype=inner),
            layers.MaxPooling2D(dtype=inner),
            layers.Conv2D(128, 3, activation="relu", dtype=inner),
            layers.MaxPooling2D(dtype=inner),
            layers.Flatten(dtype=inner),
            layers.Dropout(dropout, name="dropout", dtype=inner),
            layers.Dense(512, activation="relu", dtype=inner),
            layers.Dense(len(CODES), activation="softmax", dtype=outer),
        ],
        name="benbrahim_2020",
    )
