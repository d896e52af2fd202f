"""Random changes of training images, inside the graph.

What is done to an image follows from its draws alone, so that it does not depend on which
worker has it, on its place in the batch, or on how often training was interrupted.
"""

import math

import numpy as np
import tensorflow as tf

from skinclf.config.schema import AugmentConfig
from skinclf.training.batches import DRAWS

SHARPENING = 0.6
"""How much an image is sharpened before it is resampled, which softens it by as much: training
images are then as sharp as those that are only resized (tests/training/test_augmentation.py)."""

LIGHTNESS = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601)."""

Draws = dict[str, tf.Tensor]
"""(n,) in 0–1 of each of DRAWS."""


def augmented(pixels: tf.Tensor, draws: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """Pixels (n, height, width, 3) uint8 and draws (n, DRAWS) in 0–1 → float32 of that shape,
    0–255.
    """
    drawn: Draws = dict(zip(DRAWS, tf.unstack(draws, axis=1), strict=True))
    images = tf.cast(pixels, tf.float32)
    if config.spatial:
        images = moved(images, drawn, config)
    if config.recolors:
        images = recolored(images, drawn, config)
    if config.brightness or config.contrast:
        brighter = _each(_around(drawn["brightness"], config.brightness)) * 255
        factor = _each(1 + _around(drawn["contrast"], config.contrast))
        mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
        images = tf.clip_by_value((images - mean) * factor + mean + brighter, 0, 255)
    return images


def moved(images: tf.Tensor, drawn: Draws, config: AugmentConfig) -> tf.Tensor:
    """Images (n, height, width, 3) with each pixel taken from another place; beyond the edges
    follows the mirror image.
    """
    height, width = images.shape[1:3]
    if config.resamples:
        images = tf.clip_by_value(sharpened(images), 0, 255)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=spatial_transforms(drawn, config, height, width),
        output_shape=tf.constant([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR" if config.resamples else "NEAREST",
        fill_mode="REFLECT",
    )


def sharpened(images: tf.Tensor) -> tf.Tensor:
    """Images moved away from the binomial mean of 3x3 pixels, by SHARPENING."""
    blur = np.outer([1, 2, 1], [1, 2, 1]) / 16
    kernel = -SHARPENING * blur
    kernel[1, 1] += 1 + SHARPENING
    channels = images.shape[3]
    kernels = tf.constant(np.tile(kernel[:, :, None, None], (1, 1, channels, 1)), images.dtype)
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    return tf.nn.depthwise_conv2d(padded, kernels, [1, 1, 1, 1], "VALID")


def spatial_transforms(drawn: Draws, config: AugmentConfig, height: int, width: int) -> tf.Tensor:
    """(n, 8) transforms from output to input places, in whole pixels unless `config.resamples`.

    A turn keeps the scale: what leaves the picture is cut off, and what enters it is its mirror
    image.
    """
    on = tf.ones_like(drawn["flip_x"])
    flip_x = tf.where(drawn["flip_x"] < 0.5, -on, on) if config.flip else on
    flip_y = tf.where(drawn["flip_y"] < 0.5, -on, on) if config.flip else on
    cosine, sine = _turn(drawn, config)
    shift_x = tf.round(_around(drawn["shift_x"], config.shift) * width)
    shift_y = tf.round(_around(drawn["shift_y"], config.shift) * height)
    scale = _factor(drawn["zoom"], config.zoom)
    stretch = _factor(drawn["aspect"], config.aspect)
    wide, high = scale * stretch, scale / stretch
    xx, xy = flip_x * cosine / wide, -flip_x * sine / high
    yx, yy = flip_y * sine / wide, flip_y * cosine / high
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    from_x = middle_x - xx * middle_x - xy * middle_y - shift_x
    from_y = middle_y - yx * middle_x - yy * middle_y - shift_y
    if not config.resamples:
        # Half pixels arise where a turn swaps a side of odd with one of even length: rounded down.
        from_x, from_y = tf.floor(from_x), tf.floor(from_y)
    return tf.stack([xx, xy, from_x, yx, yy, from_y, 0 * on, 0 * on], axis=1)


def _turn(drawn: Draws, config: AugmentConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """Cosine and sine (n,) of the angles by which images are turned."""
    if config.rotate == "any":
        angle = drawn["turn"] * (2 * math.pi)
        return tf.cos(angle), tf.sin(angle)
    quarters = tf.cast(tf.floor(drawn["turn"] * 4), tf.int32)
    if config.rotate == "none":
        quarters = tf.zeros_like(quarters)
    return tf.gather([1.0, 0.0, -1.0, 0.0], quarters), tf.gather([0.0, 1.0, 0.0, -1.0], quarters)


def recolored(images: tf.Tensor, drawn: Draws, config: AugmentConfig) -> tf.Tensor:
    """Images (n, height, width, 3), 0–255, as another camera and another lamp would show them."""
    gains = [_factor(drawn[f"gain_{name}"], config.channel_gain) for name in "rgb"]
    colors = tf.linalg.diag(tf.stack(gains, axis=1)) @ _tint(drawn, config)
    flat = tf.reshape(images, [-1, images.shape[1] * images.shape[2], 3]) @ colors
    images = tf.clip_by_value(tf.reshape(flat, tf.shape(images)), 0, 255)
    if config.gamma:
        # 0 has no finite logarithm: no pixel is quite black. tf.pow takes five times as long.
        power = _each(_factor(drawn["gamma"], config.gamma))
        images = 255 * tf.exp(power * tf.math.log(images / 255 + 1e-6))
    return tf.ensure_shape(images, [None, *images.shape[1:]])


def _tint(drawn: Draws, config: AugmentConfig) -> tf.Tensor:
    """(n, 3, 3) matrices from red, green and blue that keep the lightness of a color: what it
    differs from gray is stretched by `saturation`, and turned by `hue` around the gray axis.
    """
    more = _each(_factor(drawn["saturation"], config.saturation), 2)
    angle = _each(_around(drawn["hue"], config.hue), 2) * (2 * math.pi)
    gray = tf.constant([[share] * 3 for share in LIGHTNESS])
    # Rodrigues: a turn around the axis (1, 1, 1).
    axis = tf.constant([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]]) / math.sqrt(3)
    turned = tf.cos(angle) * tf.eye(3) + tf.sin(angle) * axis + (1 - tf.cos(angle)) / 3
    rest = (tf.eye(3) - gray) @ turned @ (tf.eye(3) - gray)
    return gray + more * rest


def _around(draw: tf.Tensor, most: float) -> tf.Tensor:
    """Draws → from -most to most."""
    return (2 * draw - 1) * most


def _factor(draw: tf.Tensor, most: float) -> tf.Tensor:
    """Draws → from 1 / (1 + most) to 1 + most, by as much up as down."""
    return tf.exp(_around(draw, math.log1p(most)))


def _each(numbers: tf.Tensor, axes: int = 3) -> tf.Tensor:
    """One number an image, for all that belongs to it."""
    return tf.reshape(numbers, [-1, *[1] * axes])
