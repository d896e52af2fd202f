from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal

import keras
import numpy as np
import pytest

from skinclf.config.schema import ModelConfig
from skinclf.errors import ConfigError
from skinclf.spec.image_spec import BENBRAHIM_2020, ImageSpec
from skinclf.training.networks import NETWORKS, build_network, check_size, shades_of_gray
from skinclf.training.networks.benbrahim2020 import PARAMETERS
from skinclf.training.predictor import read_keras_model


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return build_network(ModelConfig(), BENBRAHIM_2020, 7, dropout=0.5)


def test_the_summary_shows_the_paper_s_788_551_parameters(network: keras.Model) -> None:
    lines: list[str] = []
    network.summary(print_fn=lambda line, **_: lines.append(line))
    assert "788,551" in "\n".join(lines)
    assert network.count_params() == PARAMETERS


def test_every_layer_has_the_shape_and_size_of_table_6_1(network: keras.Model) -> None:
    rows = [(layer.output.shape[1:], layer.count_params()) for layer in network.layers[1:]]
    assert rows == [
        ((75, 100, 3), 0),
        ((73, 98, 64), 1_792),
        ((36, 49, 64), 0),
        ((34, 47, 64), 36_928),
        ((17, 23, 64), 0),
        ((15, 21, 128), 73_856),
        ((7, 10, 128), 0),
        ((5, 8, 128), 147_584),
        ((2, 4, 128), 0),
        ((1024,), 0),
        ((1024,), 0),
        ((512,), 524_800),
        ((7,), 3_591),
    ]


@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_uniform"])
def test_weights_begin_as_the_initializer_draws_them(
    initializer: Literal["glorot_uniform", "he_uniform"],
) -> None:
    config = ModelConfig(initializer=initializer)
    model = build_network(config, BENBRAHIM_2020, 7, dropout=0.5)
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
    for kernel in kernels[:-1]:  # the last layer is the softmax's
        inputs = kernel[..., 0].size
        outputs = kernel[..., 0, :].size if kernel.ndim == 4 else kernel.shape[1]
        widest = (6 / (inputs if initializer == "he_uniform" else inputs + outputs)) ** 0.5
        assert np.abs(kernel).max() == pytest.approx(widest, rel=0.01)


def test_a_network_may_see_means_of_larger_images() -> None:
    """The same network, with as many weights, on images of twice the height and width."""
    image = ImageSpec(height=150, width=200)
    larger = build_network(ModelConfig(downscale=2), image, 7, dropout=0.5)
    assert larger.count_params() == PARAMETERS
    plain = build_network(ModelConfig(), BENBRAHIM_2020, 7, dropout=0.5)
    plain.set_weights(larger.get_weights())
    pixels = np.random.default_rng(1).integers(0, 256, (2, *image.shape)).astype(np.float32)
    means = pixels.reshape(2, 75, 2, 100, 2, 3).mean(axis=(2, 4))
    assert larger(pixels).numpy() == pytest.approx(plain(means).numpy(), abs=1e-5)
    with pytest.raises(ConfigError, match="it needs 138 in height"):
        check_size(ModelConfig(downscale=3), ImageSpec(height=137, width=200))


@pytest.mark.parametrize(("centred", "black"), [(False, 0.0), (True, -1.0)])
def test_pixels_are_scaled_inside(*, centred: bool, black: float) -> None:
    network = build_network(ModelConfig(zero_centered=centred), BENBRAHIM_2020, 7, dropout=0.5)
    pixels = np.full((2, 75, 100, 3), 255, np.uint8)
    pixels[0] = 0
    scaled = network.get_layer("scaling")(pixels).numpy()
    assert (scaled.min(), scaled.max()) == pytest.approx((black, 1.0))
    assert network(pixels).numpy().sum(axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_the_compact_network_computes_each_image_alone() -> None:
    network = build_network(ModelConfig(name="compact"), BENBRAHIM_2020, 7, dropout=0.5)
    assert network.count_params() == 1_230_823
    pixels = np.random.default_rng(1).integers(0, 256, (3, 75, 100, 3), np.uint8)
    together = network(pixels).numpy()
    alone = np.concatenate([network(pixels[n : n + 1]).numpy() for n in range(3)])
    assert together == pytest.approx(alone, abs=1e-5)  # nothing depends on who else is there


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_reads_other_sizes_and_answers_in_other_classes(name: str) -> None:
    network = build_network(ModelConfig(name=name), ImageSpec(height=48, width=64), 4, dropout=0.5)
    assert network(np.zeros((2, 48, 64, 3), np.uint8)).shape == (2, 4)


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].smallest > 1])
def test_images_that_are_too_small_for_a_network_are_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = NETWORKS[name]

    def build(side: int) -> None:
        for height, width in ((side, 100), (100, side)):
            image = ImageSpec(height=height, width=width)
            build_network(ModelConfig(name=name), image, 7, dropout=0.5)

    build(network.smallest)
    with pytest.raises(ConfigError, match=f"{name} can't read .* it needs {network.smallest}"):
        build(network.smallest - 1)
    monkeypatch.setitem(NETWORKS, name, network._replace(smallest=1))
    with pytest.raises(ConfigError, match=f"(?s){name} can't read .* zero or negative"):
        build(network.smallest - 1)


def test_shades_of_gray_take_away_the_color_of_the_light() -> None:
    random = np.random.default_rng(1)
    scene = random.uniform(0.1, 0.6, (1, 75, 100, 3)) * 255
    bluish = scene * np.array([0.8, 0.9, 1.2])
    under_white_light = shades_of_gray(scene).numpy()
    assert np.ptp(under_white_light.mean(axis=(0, 1, 2))) < 1
    expected = under_white_light * bluish.mean() / scene.mean()
    assert shades_of_gray(bluish).numpy() == pytest.approx(expected, rel=0.02)


def test_a_model_with_color_constancy_is_saved_with_it() -> None:
    config = ModelConfig(color_constancy="shades_of_gray")
    network = build_network(config, BENBRAHIM_2020, 7, dropout=0.5)
    with NamedTemporaryFile(suffix=".keras") as file:
        network.save(file.name)
        again = read_keras_model(Path(file.name).read_bytes())
    pixels = np.random.default_rng(1).integers(0, 256, (2, 75, 100, 3), np.uint8)
    assert again(pixels).numpy() == pytest.approx(network(pixels).numpy(), abs=1e-6)
