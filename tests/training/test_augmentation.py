import numpy as np
import pytest

from skinclf.config.schema import AugmentConfig
from skinclf.training.augmentation import augmented

PIXELS = np.random.default_rng(1).integers(0, 256, (1, 75, 100, 3), np.uint8)
MIDDLE = 0.5  # of a draw from 0 to 1: nothing is shifted, brightened or contrasted


def change(config: AugmentConfig, **draws: float) -> np.ndarray:
    names = ("flip_x", "flip_y", "turn", "shift_x", "shift_y", "brightness", "contrast", "zoom")
    row = [draws.get(name, 0.9 if name.startswith("flip") else MIDDLE) for name in names]
    row[2] = draws.get("turn", 0.0)
    return augmented(PIXELS, np.array([row], np.float32), config).numpy()[0]


def test_draws_in_the_middle_change_nothing() -> None:
    everything = AugmentConfig(
        flip=True, rotate=True, shift=0.1, zoom=0.2, brightness=0.2, contrast=0.2
    )
    assert change(everything) == pytest.approx(PIXELS[0].astype(float), abs=1e-3)


def test_what_is_switched_off_changes_nothing() -> None:
    nothing = AugmentConfig()
    assert not nothing.any
    assert np.array_equal(change(nothing, flip_x=0, turn=0.5, shift_x=1, contrast=1), PIXELS[0])


def test_flips() -> None:
    flips = AugmentConfig(flip=True)
    assert np.array_equal(change(flips, flip_x=0.1), PIXELS[0, :, ::-1])
    assert np.array_equal(change(flips, flip_y=0.1), PIXELS[0, ::-1])


def test_quarter_turns_keep_scale_and_middle() -> None:
    """A quarter turn is numpy's, cut to the 75 columns that both ways of lying share."""
    turns = AugmentConfig(rotate=True)
    assert np.array_equal(change(turns, turn=0.6), PIXELS[0, ::-1, ::-1])
    for draw, quarters in ((0.3, 1), (0.8, 3)):
        turned = np.rot90(PIXELS[0], quarters)  # (100, 75, 3)
        ours = change(turns, turn=draw)[:, 13:86]
        fits = [
            np.array_equal(ours, turned[top : top + 75, left : left + 73])
            for top in (12, 13)
            for left in (0, 1, 2)
        ]
        assert sum(fits) == 1


def test_a_shift_moves_whole_pixels_and_mirrors_the_edge() -> None:
    shifted = change(AugmentConfig(shift=0.1), shift_x=1.0)
    assert np.array_equal(shifted[:, 10:], PIXELS[0, :, :-10])
    assert np.array_equal(shifted[:, :10], PIXELS[0, :, :10][:, ::-1])
    shifted = change(AugmentConfig(shift=0.04), shift_y=0.0)
    assert np.array_equal(shifted[:-3], PIXELS[0, 3:])


def test_a_zoom_of_two_shows_the_middle_half() -> None:
    near = change(AugmentConfig(zoom=0.5), zoom=1.0)  # 1.5 times as large
    assert near[37, 49:51].mean(axis=0) == pytest.approx(PIXELS[0, 37, 49:51].mean(axis=0), abs=30)
    assert near[37 + 3, 49] == pytest.approx(  # 3 pixels down are 2 of the original's
        PIXELS[0, 37 + 2, 49] * (5 / 6) + PIXELS[0, 37 + 2, 50] / 6, abs=1
    )


def test_brightness_and_contrast_stay_within_a_byte() -> None:
    brighter = change(AugmentConfig(brightness=0.2), brightness=1.0)
    assert brighter == pytest.approx(np.clip(PIXELS[0] + 51.0, 0, 255), abs=1e-3)
    grey = change(AugmentConfig(contrast=0.5), contrast=0.0)
    mean = PIXELS[0].mean(axis=(0, 1))
    assert grey == pytest.approx(mean + (PIXELS[0] - mean) / 2, abs=1e-2)
