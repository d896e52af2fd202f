"""The networks by name. Imports Keras only to build one: settings are checked without it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from skinclf.config.schema import ModelConfig
from skinclf.errors import ConfigError
from skinclf.spec.image_spec import ImageSpec
from skinclf.training.networks.benbrahim2020 import benbrahim2020
from skinclf.training.networks.compact import compact
from skinclf.training.networks.tiny import tiny

if TYPE_CHECKING:
    import keras


class Network(NamedTuple):
    """A network without its input scaling and its softmax."""

    description: str  # for the model card
    features: Callable[[Any, dict[str, Any], Any], Any]
    """Scaled images, arguments for layers with weights (`kernel_initializer`, `dtype`), and the
    layer of dropout → features (n, f). The layer of dropout is called once; what follows it is one
    layer after another."""
    smallest: int = 1
    """Pixels of height and of width that images need: fewer are refused before Spark starts."""


NETWORKS = {
    "benbrahim2020": Network(
        "The convolutional network of Benbrahim, Hachimi and Amine (2020)", benbrahim2020, 46
    ),
    "compact": Network("A residual network with batch normalization", compact),
    "tiny": Network("A network for tests, too small to learn much", tiny),
}
"""The registry: another network is a file beside this one and one more entry."""


def build_network(
    config: ModelConfig,
    image: ImageSpec,
    classes: int,
    *,
    dropout: float,
    precision: str = "float32",
) -> "keras.Model":
    """The network that `config` names, with fresh weights.

    Reads (n, height, width, 3) pixels, 0–255, any numeric dtype: scaling is inside, so that nobody
    can forget it. Returns (n, classes) float32 probabilities in the order of the taxonomy.

    `precision` "bfloat16" computes in it, with float32 weights, input scaling and softmax;
    "float64" is for checks. The weights fit the network of every precision. Raises ConfigError
    where the images are too small for the network.
    """
    check_size(config, image)
    import keras
    from keras import layers

    inner = "mixed_bfloat16" if precision == "bfloat16" else precision
    outer = "float64" if precision == "float64" else "float32"
    scaling = {"scale": 1 / 127.5, "offset": -1.0} if config.zero_centered else {"scale": 1 / 255}
    common = {"kernel_initializer": config.initializer, "dtype": inner}
    pixels = keras.Input(image.shape, dtype="float32")
    toned = shades_of_gray(pixels) if config.color_constancy == "shades_of_gray" else pixels
    scaled = layers.Rescaling(**scaling, name="scaling", dtype=outer)(toned)
    if config.downscale > 1:
        scaled = layers.AveragePooling2D(config.downscale, name="downscaling", dtype=outer)(scaled)
    try:
        features = NETWORKS[config.name].features(
            scaled, common, layers.Dropout(dropout, name="dropout", dtype=inner)
        )
    except ValueError as error:
        raise ConfigError(
            f"model.name: {config.name} can't read images of {image.width}x{image.height} pixels: "
            f"{error}"
        ) from None
    probabilities = layers.Dense(classes, activation="softmax", dtype=outer)(features)
    return keras.Model(pixels, probabilities, name=config.name)


def check_size(config: ModelConfig, image: ImageSpec) -> None:
    """Raise ConfigError where images are too small for the network; builds none."""
    smallest = NETWORKS[config.name].smallest * config.downscale
    if min(image.height, image.width) < smallest:
        reduced = f" (model.downscale = {config.downscale})" if config.downscale > 1 else ""
        raise ConfigError(
            f"model.name: {config.name} can't read images of {image.width}x{image.height} pixels: "
            f"it needs {smallest} in height and in width{reduced}. Prepare a dataset with a larger "
            f"image.width and image.height, or train another network"
        )


def shades_of_gray(pixels: Any) -> Any:
    """Pixels (n, height, width, 3), 0–255, as under white light: each channel is scaled so that
    its mean of sixth powers over the image is that of all three (Finlayson and Trezzi, 2004).

    Keras operations alone, so that a saved model needs no code of ours.
    """
    from keras import ops

    squares = ops.square(pixels / 255.0)
    sixth = squares * squares * squares  # a general power takes three times as long
    means = ops.mean(sixth, axis=(1, 2), keepdims=True) ** (1 / 6) + 1e-3
    light = ops.mean(means, axis=3, keepdims=True) / means
    return ops.clip(pixels * light, 0.0, 255.0)
