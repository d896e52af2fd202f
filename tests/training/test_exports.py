from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.training.exports import FORMATS
from tests.training.test_engines import finished_run


@pytest.mark.parametrize("to", FORMATS)
def test_a_network_with_normalized_groups_predicts_the_same_in_every_format(
    tmp_path: Path, to: str
) -> None:
    """The paper's network: tests/stages/test_export.py."""
    if not all(map(find_spec, FORMATS[to].packages)):
        pytest.skip(f"needs the packages of --to {to}")
    run, network = finished_run(tmp_path, "compact")
    folder = tmp_path / "exported"
    folder.mkdir()
    FORMATS[to].write(run, BENBRAHIM_2020, folder)
    pixels = np.random.default_rng(1).integers(0, 256, (9, 75, 100, 3), np.uint8)
    expected = network(pixels, training=False).numpy()
    assert expected.std(axis=0).max() > 1e-3  # they are not all alike
    assert FORMATS[to].read(folder)(pixels) == pytest.approx(expected, abs=1e-5)
