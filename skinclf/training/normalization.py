"""Batch normalization by TensorFlow's fused kernels.

Keras makes its layer of some ten passes over the images and as many for the gradient, all in
float32. A fused kernel takes one pass for each, in bfloat16 as in float32.
"""

from typing import Any

import keras
import tensorflow as tf


def with_fused_normalization(model: keras.Model) -> keras.Model:
    """The network with a FusedBatchNormalization for each synchronized BatchNormalization of
    images, and the same weights; `model` itself where there is none, or none in a precision that
    the kernels have.

    For training alone: a model that is saved has Keras's layer.
    """
    if not any(_fits(layer) for layer in model.layers):
        return model

    def copied(layer: keras.Layer) -> keras.Layer:
        kind = FusedBatchNormalization if _fits(layer) else type(layer)
        return kind.from_config(layer.get_config())

    fused = keras.models.clone_model(model, clone_function=copied)
    fused.set_weights(model.get_weights())
    return fused


def _fits(layer: keras.Layer) -> bool:
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.synchronized
        and layer.scale
        and layer.center
        and not layer.renorm
        and len(layer.input.shape) == 4
        and layer.axis in (3, -1)
        and layer.compute_dtype in ("bfloat16", "float32")
    )


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer, with the statistics of the whole global batch and without masks."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Images (n, height, width, channels) → the same shape."""
        images = tf.cast(inputs, self.compute_dtype)
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        if not (training and self.trainable):
            moving = tf.convert_to_tensor(self.moving_mean), self.moving_variance
            return scaled(images, gamma, beta, *moving, self.epsilon)
        replica = tf.distribute.get_replica_context()
        alone = replica is None or replica.num_replicas_in_sync == 1
        normalize = normalized if alone else normalized_by_all
        result, mean, variance = normalize(images, gamma, beta, self.epsilon)
        for moving, found in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + found * (1 - self.momentum))
        return result


def normalized(
    images: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalized images (n, height, width, channels), and the mean and the variance (channels,)
    that they had; by the statistics of these images alone.
    """
    nothing = tf.zeros([0])
    result, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images, scale=gamma, offset=beta, mean=nothing, variance=nothing, epsilon=epsilon
    )
    # The kernel's variance is that of a sample, Keras's of these numbers.
    count = _pixels(images)
    return result, mean, variance * (count - 1) / count


def normalized_by_all(
    images: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`normalized` by the statistics of all workers' images; in a replica's context.

    One sum over the workers forward and one backward, each of a vector as long as two or three
    times the channels.
    """
    add_up = tf.distribute.get_replica_context().all_reduce
    total = tf.distribute.ReduceOp.SUM

    @tf.custom_gradient
    def compute(images: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        _, mean, variance = normalized(images, gamma, beta, epsilon)
        # A worker without images has no mean: it adds nothing.
        count = _pixels(images)
        local = [mean, variance + mean * mean, tf.ones_like(mean)]
        sums = add_up(total, tf.math.multiply_no_nan(tf.stack(local), count))
        count = sums[2]
        mean = sums[0] / count
        variance = tf.maximum(sums[1] / count - mean * mean, 0)

        def gradient(after: tf.Tensor, *_unused: tf.Tensor) -> tuple[tf.Tensor, ...]:
            before, of_gamma, of_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=after,
                x=images,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=tf.zeros([0]),
                epsilon=epsilon,
                is_training=False,
            )
            # That took mean and variance as constants. What images did through them depends on
            # the sums of all workers' gradients (Ioffe and Szegedy, arXiv:1502.03167, section 3).
            means = add_up(total, tf.stack([of_gamma, of_beta])) / count
            means *= gamma * tf.math.rsqrt(variance + epsilon)
            through = scaled(images, means[0], means[1], mean, variance, epsilon)
            return before - through, of_gamma, of_beta

        return (scaled(images, gamma, beta, mean, variance, epsilon), mean, variance), gradient

    return compute(images, gamma, beta)


def scaled(
    images: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    epsilon: float,
) -> tf.Tensor:
    """Images (n, height, width, channels) normalized by the mean and the variance (channels,)."""
    return tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    ).y


def _pixels(images: tf.Tensor) -> tf.Tensor:
    """How many numbers a channel has."""
    return tf.cast(tf.size(images) / images.shape[3], tf.float32)
