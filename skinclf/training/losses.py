"""Losses by name, from logits: what a network gives before its softmax.

Imports TensorFlow only to compute one: settings are checked without it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skinclf.config.schema import TrainConfig

if TYPE_CHECKING:
    import tensorflow as tf

Loss = Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]
"""Truth (n, classes), in which each row sums to 1, and logits (n, classes) → losses (n,)."""


def categorical_crossentropy(truth: "tf.Tensor", logits: "tf.Tensor") -> "tf.Tensor":
    """-log of the truth's probability."""
    import keras

    return keras.losses.categorical_crossentropy(truth, logits, from_logits=True)


def binary_crossentropy(truth: "tf.Tensor", logits: "tf.Tensor") -> "tf.Tensor":
    """The mean over the outputs of the softmax, each a yes or no of its own: the paper's.

    Keras 3 would not compute it: given what comes out of a softmax, it goes back to the logits and
    takes a sigmoid of them, which is another loss than the one of the probabilities. Those of the
    paper's time did not.
    """
    import keras
    import tensorflow as tf

    return keras.losses.binary_crossentropy(truth, tf.nn.softmax(logits))


LOSSES: dict[str, Loss] = {
    "categorical_crossentropy": categorical_crossentropy,
    "binary_crossentropy": binary_crossentropy,
}
"""The registry: another loss is one more entry."""


def make_objective(
    config: TrainConfig, images: NDArray[np.int64]
) -> Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]:
    """What training minimizes: labels (n,) and logits (n, classes) → losses (n,).

    The loss of history.jsonl with, where configured, its targets smoothed, each class weighted,
    and the logits adjusted: the loss is taken of softmax(logits + τ log prior), so that the
    network itself predicts as if classes were less unequal (Menon et al., arXiv:2007.07314). A
    class without images is not raised as the rarest would be.
    `images` (classes,): how many training images each class has.
    """
    import tensorflow as tf

    loss, classes = LOSSES[config.loss], len(images)
    weights = tf.constant(class_weights(config, images))
    shares = np.where(images > 0, images / images.sum(), 1.0)
    prior = config.logit_adjustment * np.log(shares)

    def objective(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        truth = tf.one_hot(labels, classes, dtype=logits.dtype)
        if config.label_smoothing:
            truth = truth * (1 - config.label_smoothing) + config.label_smoothing / classes
        losses = loss(truth, logits + tf.cast(prior, logits.dtype))
        return losses * tf.cast(tf.gather(weights, labels), losses.dtype)

    return objective


def class_weights(config: TrainConfig, images: NDArray[np.int64]) -> NDArray[np.float32]:
    """(classes,) how much an image of each class counts; the mean over all images is 1."""
    counted = images.astype(np.float32)
    if config.class_weighting == "none":
        return np.ones_like(counted)
    return counted.sum() / (np.count_nonzero(counted) * np.maximum(counted, 1))
