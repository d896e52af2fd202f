import numpy as np
import pytest

from skinclf.training.dropout import dropped

SEEDS = np.random.default_rng(1).integers(2**31, size=(64, 2), dtype=np.int32)
ONES = np.ones((64, 1000), np.float32)


def test_a_share_of_the_units_is_dropped_and_the_mean_stays() -> None:
    found = dropped(ONES, SEEDS, 0.25).numpy()
    assert set(np.unique(found)) == {0.0, np.float32(1 / 0.75)}
    assert (found == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert found.mean() == pytest.approx(1, abs=0.01)


def test_an_image_s_mask_follows_from_its_seed_alone() -> None:
    """Not from its place in the batch, nor from who else is there."""
    together = dropped(ONES, SEEDS, 0.5).numpy()
    assert np.array_equal(dropped(ONES[:3], SEEDS[[7, 5, 7]], 0.5), together[[7, 5, 7]])
    agree = (together[0] == together[1]).mean()
    assert agree == pytest.approx(0.5, abs=0.1)
