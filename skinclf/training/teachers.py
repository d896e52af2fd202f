"""Trained networks that another one learns from: distillation (Hinton et al., arXiv:1503.02531).

Teacher and student see the same changed image in each step (Beyer et al., arXiv:2106.05237).
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from skinclf.training.normalization import with_fused_normalization
from skinclf.training.predictor import Predictor

Teacher = Callable[[tf.Tensor], tf.Tensor]
"""Images (n, height, width, 3), 0–255 → probabilities (n, classes), each row's sum 1."""


def make_teacher(predictors: Sequence[Predictor]) -> Teacher | None:
    """The mean of what the networks give for an image as it is; None where there are none."""
    if not predictors:
        return None
    networks = [with_fused_normalization(each.read_network()) for each in predictors]

    def teach(images: tf.Tensor) -> tf.Tensor:
        found = [network(images, training=False) for network in networks]
        return tf.add_n(found) / len(found)

    return teach
