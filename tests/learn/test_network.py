import keras
import numpy as np
import pytest

from skinclf.config import ModelConfig
from skinclf.learn.network import PARAMETERS, build_network


@pytest.fixture(scope="module")
def network() -> keras.Sequential:
    return build_network(ModelConfig(), dropout=0.5)


def test_the_summary_shows_the_paper_s_788_551_parameters(network: keras.Sequential) -> None:
    lines: list[str] = []
    network.summary(print_fn=lambda line, **_: lines.append(line))
    assert "788,551" in "\n".join(lines)
    assert network.count_params() == PARAMETERS


def test_every_layer_has_the_shape_and_size_of_table_6_1(network: keras.Sequential) -> None:
    rows = [(layer.output.shape[1:], layer.count_params()) for layer in network.layers]
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


def test_pixels_are_scaled_inside(network: keras.Sequential) -> None:
    pixels = np.full((2, 75, 100, 3), 255, np.uint8)
    assert network.layers[0](pixels).numpy().max() == pytest.approx(1.0)
    assert network(pixels).numpy().sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
