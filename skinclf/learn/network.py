"""The paper's network."""

import keras
from keras import layers

from skinclf.labels import CODES
from skinclf.schemas import CHANNELS, HEIGHT, WIDTH

PARAMETERS = 788_551
"""Benbrahim, Hachimi and Amine (2020), table 6.1."""


def build_network(dropout: float) -> keras.Sequential:
    """The CNN of Benbrahim, Hachimi and Amine (2020), table 6.1, with fresh weights.

    Takes (n, 75, 100, 3) pixels, 0–255, any numeric dtype: scaling to 0–1 is inside, so that
    nobody can forget it. Returns (n, 7) float32 probabilities in the order of labels.CODES.
    Padding is valid throughout: the paper's pooling rows follow from nothing else.
    """
    return keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, CHANNELS), dtype="float32"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(128, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(128, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(dropout, name="dropout"),
            layers.Dense(512, activation="relu"),
            layers.Dense(len(CODES), activation="softmax"),
        ],
        name="benbrahim_2020",
    )
