"""What training makes small, from logits: what a network gives before its softmax."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from skinclf.config.schema import TrainConfig
from skinclf.spec.taxonomy import CODES

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Truth (n, 7), in which each row sums to 1, and logits (n, 7) → losses (n,)."""


def categorical_crossentropy(truth: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """-log of the truth's probability."""
    return keras.losses.categorical_crossentropy(truth, logits, from_logits=True)


def binary_crossentropy(truth: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The mean over 7 outputs of the softmax, each a yes or no of its own: the paper's.

    Keras 3 would not compute it: given what comes out of a softmax, it goes back to the logits and
    takes a sigmoid of them, which is another loss than the one of the probabilities. Those of the
    paper's time did not.
    """
    return keras.losses.binary_crossentropy(truth, tf.nn.softmax(logits))


LOSSES: dict[str, Loss] = {
    "categorical_crossentropy": categorical_crossentropy,
    "binary_crossentropy": binary_crossentropy,
}


def make_objective(
    config: TrainConfig, counts: dict[str, int]
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """What training makes small: labels (n,) and logits (n, 7) → losses (n,).

    The loss of history.jsonl with, where configured, its targets smoothed, each class weighted,
    and the logits adjusted: the loss is taken of softmax(logits + τ log prior), so that the
    network itself answers as if classes were less unequal (Menon et al., arXiv:2007.07314).
    `counts` are the training images of each class.
    """
    loss = LOSSES[config.loss]
    weights = tf.constant(class_weights(config, counts))
    images = np.array([max(counts.get(code, 0), 1) for code in CODES], np.float64)
    prior = config.logit_adjustment * np.log(images / images.sum())

    def objective(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        truth = tf.one_hot(labels, len(CODES), dtype=logits.dtype)
        if config.label_smoothing:
            truth = truth * (1 - config.label_smoothing) + config.label_smoothing / len(CODES)
        losses = loss(truth, logits + tf.cast(prior, logits.dtype))
        return losses * tf.cast(tf.gather(weights, labels), losses.dtype)

    return objective


def class_weights(config: TrainConfig, counts: dict[str, int]) -> NDArray[np.float32]:
    """(7,) how much an image of each class counts; the mean over all images is 1."""
    images = np.array([counts.get(code, 0) for code in CODES], np.float32)
    if config.class_weighting == "none":
        return np.ones_like(images)
    return images.sum() / (np.count_nonzero(images) * np.maximum(images, 1))
