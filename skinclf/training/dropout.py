"""Dropout whose masks follow from a seed of each image.

So a mask depends neither on which worker has the image, nor on how many workers there are, nor on
how often training was interrupted.
"""

import tensorflow as tf


def dropped(features: tf.Tensor, seeds: tf.Tensor, rate: float) -> tf.Tensor:
    """Features (n, units) with a share of `rate` of each image's units set to 0, and the others
    divided by 1 - rate, so that their mean stays (Srivastava et al. 2014).

    seeds: (n, 2) int32. The draws are stateless (Philox): one seed always gives one mask, on every
    kind of processor.
    """
    units = features.shape[1]

    def kept(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform((units,), seed, alg="philox") >= rate

    masks = tf.map_fn(kept, seeds, fn_output_signature=tf.TensorSpec((units,), tf.bool))
    return tf.where(masks, features / (1 - rate), tf.zeros_like(features))
