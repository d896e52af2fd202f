"""Random changes of training images, inside the graph.

What is done to an image follows from its draws alone, so that it does not depend on which
worker has it, on its place in the batch, or on how often training was interrupted.
"""

import tensorflow as tf

from skinclf.config.schema import AugmentConfig


def augmented(pixels: tf.Tensor, draws: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """Pixels (n, height, width, 3) uint8 and draws (n, 8) in 0–1 → float32 of that shape, 0–255.

    Draws in order: flip left-right, flip upside-down, quarter turns, shift right, shift down,
    brightness, contrast, zoom.
    """
    images = tf.cast(pixels, tf.float32)
    height, width = pixels.shape[1:3]
    if config.spatial:
        images = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=spatial_transforms(draws, config, height, width),
            output_shape=tf.constant([height, width]),
            fill_value=0.0,
            interpolation="BILINEAR" if config.zoom else "NEAREST",
            fill_mode="REFLECT",
        )
    if config.brightness or config.contrast:
        brighter = (2 * draws[:, 5, None, None, None] - 1) * config.brightness * 255
        factor = 1 + (2 * draws[:, 6, None, None, None] - 1) * config.contrast
        mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
        images = tf.clip_by_value((images - mean) * factor + mean + brighter, 0, 255)
    return images


def spatial_transforms(
    draws: tf.Tensor, config: AugmentConfig, height: int, width: int
) -> tf.Tensor:
    """Draws (n, 8) → (n, 8) transforms from output to input places, in whole pixels but for zoom.

    A quarter turn keeps the scale: the long side's ends leave the picture, and the short side
    is continued by its mirror image.
    """
    on = tf.ones_like(draws[:, 0])
    flip_x = tf.where(draws[:, 0] < 0.5, -on, on) if config.flip else on
    flip_y = tf.where(draws[:, 1] < 0.5, -on, on) if config.flip else on
    angle = tf.floor(draws[:, 2] * 4) if config.rotate else 0 * on
    cosine = tf.gather([1.0, 0.0, -1.0, 0.0], tf.cast(angle, tf.int32))
    sine = tf.gather([0.0, 1.0, 0.0, -1.0], tf.cast(angle, tf.int32))
    shift_x = tf.round((2 * draws[:, 3] - 1) * config.shift * width)
    shift_y = tf.round((2 * draws[:, 4] - 1) * config.shift * height)
    scale = 1 + (2 * draws[:, 7] - 1) * config.zoom
    xx, xy, yx, yy = (
        part / scale for part in (flip_x * cosine, -flip_x * sine, flip_y * sine, flip_y * cosine)
    )
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    from_x = middle_x - xx * middle_x - xy * middle_y - shift_x
    from_y = middle_y - yx * middle_x - yy * middle_y - shift_y
    if not config.zoom:
        # Half pixels arise where a turn swaps a side of odd with one of even length: rounded down.
        from_x, from_y = tf.floor(from_x), tf.floor(from_y)
    return tf.stack([xx, xy, from_x, yx, yy, from_y, 0 * on, 0 * on], axis=1)
