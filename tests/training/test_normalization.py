import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from skinclf.config.schema import ModelConfig
from skinclf.spec.image_spec import BENBRAHIM_2020, ImageSpec
from skinclf.training.networks import build_network
from skinclf.training.normalization import FusedBatchNormalization, with_fused_normalization

RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.normal(3, 2, (8, 6, 7, 16)).astype(np.float32)
BACKWARD = RANDOM.normal(0, 1, IMAGES.shape).astype(np.float32)
WEIGHTS = RANDOM.uniform(0.5, 2, (4, 16)).astype(np.float32)

Learned = tuple[list[np.ndarray], list[np.ndarray]]


def make(kind: type[keras.layers.BatchNormalization], **arguments: str) -> keras.Layer:
    layer = kind(synchronized=True, **arguments)
    layer.build(IMAGES.shape)
    layer.set_weights(list(WEIGHTS))
    return layer


def step(layer: keras.Layer, images: tf.Tensor, backward: tf.Tensor) -> list[tf.Tensor]:
    """What comes out, and the gradients of the images, of gamma and of beta."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        found = layer(images, training=True)
        loss = tf.reduce_sum(tf.cast(found, tf.float32) * backward)
    return [found, *tape.gradient(loss, [images, layer.gamma.value, layer.beta.value])]


def learned(kind: type[keras.layers.BatchNormalization], **arguments: str) -> Learned:
    layer = make(kind, **arguments)
    found = [np.asarray(part, np.float32) for part in step(layer, tf.constant(IMAGES), BACKWARD)]
    return found, layer.get_weights()


def assert_like_keras(found: list[np.ndarray], weights: list[np.ndarray], noise: float) -> None:
    theirs, their_weights = learned(keras.layers.BatchNormalization)
    for ours, expected in zip([*found, *weights], [*theirs, *their_weights], strict=True):
        assert np.abs(ours - expected).max() < noise * max(np.abs(expected).max(), 1)


@pytest.mark.parametrize(
    ("precision", "noise"), [("float32", 1e-5), ("mixed_bfloat16", 1e-2)], ids=str
)
def test_the_fused_layer_computes_and_learns_what_keras_s_does(
    precision: str, noise: float
) -> None:
    assert_like_keras(*learned(FusedBatchNormalization, dtype=precision), noise)


TWO_WORKERS = """
import sys
import numpy as np
import tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
from tests.training.test_normalization import BACKWARD, IMAGES, FusedBatchNormalization, make, step
first = int(sys.argv[1])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = make(FusedBatchNormalization)
def part(context, of):
    return tf.constant(of[first:] if context.replica_id_in_sync_group else of[:first])
given = [strategy.experimental_distribute_values_from_function(lambda c, of=of: part(c, of))
         for of in (IMAGES, BACKWARD)]
run = tf.function(lambda *of: strategy.run(lambda *each: step(layer, *each), of), autograph=False)
found, images, gamma, beta = map(strategy.experimental_local_results, run(*given))
np.savez(sys.argv[2], *map(np.concatenate, (found, images)), sum(gamma), sum(beta),
         *layer.get_weights())
"""


@pytest.mark.faults
@pytest.mark.parametrize("first", [5, 8])
def test_two_workers_share_their_statistics(first: int, tmp_path: Path) -> None:
    """The first has so many of the eight images, the second the others, if there are any."""
    file = tmp_path / "learned.npz"
    subprocess.run([sys.executable, "-c", TWO_WORKERS, str(first), str(file)], check=True)
    with np.load(file) as saved:
        found = [saved[name] for name in saved]
    assert_like_keras(found[:4], found[4:], 1e-5)


def test_the_compact_network_is_trained_by_fused_layers_and_keeps_its_weights() -> None:
    image = ImageSpec(height=48, width=64)
    config = ModelConfig(name="compact", color_constancy="shades_of_gray")
    plain = build_network(config, image, 4, dropout=0.5)
    fused = with_fused_normalization(plain)
    kinds = [type(layer) for layer in fused.layers]
    assert keras.layers.BatchNormalization not in kinds
    assert kinds.count(FusedBatchNormalization) == 9
    assert [weight.path for weight in fused.weights] == [weight.path for weight in plain.weights]
    images = RANDOM.integers(0, 256, (2, 48, 64, 3), np.uint8)
    assert fused(images).numpy() == pytest.approx(plain(images).numpy(), abs=1e-6)


def test_other_networks_and_other_precisions_stay_as_they_are() -> None:
    paper = build_network(ModelConfig(), BENBRAHIM_2020, 7, dropout=0.5)
    exact = build_network(
        ModelConfig(name="compact"), BENBRAHIM_2020, 7, dropout=0.5, precision="float64"
    )
    # Keras computes each worker's own statistics here, which the fused layer would share.
    images = keras.Input((8, 8, 3))
    own = keras.Model(images, keras.layers.BatchNormalization()(images))
    for network in (paper, exact, own):
        assert with_fused_normalization(network) is network
