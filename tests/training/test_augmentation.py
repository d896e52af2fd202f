import numpy as np
import pytest

from skinclf.config.schema import AugmentConfig
from skinclf.training.augmentation import augmented
from skinclf.training.batches import DRAWS

PIXELS = np.random.default_rng(1).integers(0, 256, (1, 75, 100, 3), np.uint8)
rows, columns = np.mgrid[:75, :100]
SMOOTH = np.stack([2 * rows + 40, 2 * columns + 20, rows + columns], -1)[np.newaxis].astype(
    np.uint8
)
MIDDLE = 0.5  # of a draw from 0 to 1: nothing is shifted, brightened or contrasted


def change(config: AugmentConfig, pixels: np.ndarray = PIXELS, **draws: float) -> np.ndarray:
    still = dict.fromkeys(DRAWS, MIDDLE) | {"flip_x": 0.9, "flip_y": 0.9, "turn": 0.0}
    row = list((still | draws).values())
    return augmented(pixels, np.array([row] * len(pixels), np.float32), config).numpy()[0]


def test_draws_in_the_middle_change_nothing() -> None:
    everything = AugmentConfig(
        flip=True,
        rotate="quarter",
        shift=0.1,
        brightness=0.2,
        contrast=0.2,
        channel_gain=0.2,
        gamma=0.2,
        saturation=0.2,
        hue=0.2,
    )
    assert change(everything) == pytest.approx(PIXELS[0].astype(float), abs=0.05)


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
    turns = AugmentConfig(rotate="quarter")
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


def test_a_zoom_and_an_aspect_show_the_middle_larger() -> None:
    near = change(AugmentConfig(zoom=0.5), SMOOTH, zoom=1.0)  # 1.5 times as large
    assert near[37 + 3, 49] == pytest.approx(SMOOTH[0, 37 + 2, 49] * 1.0, abs=2)
    wide = change(AugmentConfig(aspect=0.5), SMOOTH, aspect=1.0)
    assert wide[37 + 2, 49 + 3] == pytest.approx(SMOOTH[0, 37 + 3, 49 + 2] * 1.0, abs=2)


def test_any_angle_is_a_turn_around_the_middle() -> None:
    turned = change(AugmentConfig(rotate="any"), SMOOTH, turn=0.25)
    assert turned[10:65, 20:80] == pytest.approx(
        change(AugmentConfig(rotate="quarter"), SMOOTH, turn=0.3)[10:65, 20:80], abs=3
    )


def test_resampled_images_are_as_sharp_as_others() -> None:
    """The network would learn soft images and be shown sharp ones: zoom and turns leave the
    differences between neighbors, on average over many images, as they are."""
    random = np.random.default_rng(2)
    # As in photographs, a detail is the fainter the smaller it is.
    noise = random.normal(size=(64, 75, 100, 3))
    rows, columns = np.fft.fftfreq(75)[:, None], np.fft.fftfreq(100)[None]
    spectrum = 1 / np.maximum(np.hypot(rows, columns), 0.02)[..., None]
    images = np.fft.ifft2(np.fft.fft2(noise, axes=(1, 2)) * spectrum, axes=(1, 2)).real
    pixels = np.clip(128 + 20 * images / images.std(), 0, 255).astype(np.uint8)
    draws = random.random((64, len(DRAWS)), np.float32)
    config = AugmentConfig(rotate="any", zoom=0.3, aspect=0.1)
    resampled = augmented(pixels, draws, config).numpy()
    assert sharpness(resampled) == pytest.approx(sharpness(pixels.astype(float)), rel=0.1)


def sharpness(images: np.ndarray) -> float:
    middle = images[:, 10:-10, 10:-10]
    return float(np.abs(np.diff(middle, axis=1)).mean() + np.abs(np.diff(middle, axis=2)).mean())


def test_a_channels_gain_and_gamma() -> None:
    redder = change(AugmentConfig(channel_gain=0.25), gain_r=1.0, gain_b=0.0)
    expected = np.clip(PIXELS[0] * np.array([1.25, 1.0, 0.8]), 0, 255)
    assert redder == pytest.approx(expected, abs=0.01)
    darker = change(AugmentConfig(gamma=1 / 3), gamma=1.0)
    assert darker == pytest.approx(255 * (PIXELS[0] / 255.0) ** (4 / 3), abs=0.05)


def test_saturation_and_hue_keep_lightness_and_gray() -> None:
    pale = np.clip(PIXELS // 4 + 96, 0, 255).astype(np.uint8)  # no color leaves the range
    lightness = pale[0] @ np.array([0.299, 0.587, 0.114])
    changed = change(AugmentConfig(saturation=0.5, hue=0.1), pale, saturation=1.0, hue=0.8)
    assert changed @ np.array([0.299, 0.587, 0.114]) == pytest.approx(lightness, abs=0.1)
    assert np.abs(changed - pale[0]).mean() > 5
    gray = np.repeat(pale[..., :1], 3, axis=3)
    assert change(AugmentConfig(saturation=0.5, hue=0.1), gray, hue=0.8) == pytest.approx(
        gray[0] * 1.0, abs=0.1
    )
    spread = np.ptp(change(AugmentConfig(saturation=0.5), pale, saturation=1.0), axis=-1)
    assert spread == pytest.approx(1.5 * np.ptp(pale[0] * 1.0, axis=-1), abs=0.1)


def test_brightness_and_contrast_stay_within_a_byte() -> None:
    brighter = change(AugmentConfig(brightness=0.2), brightness=1.0)
    assert brighter == pytest.approx(np.clip(PIXELS[0] + 51.0, 0, 255), abs=1e-3)
    gray = change(AugmentConfig(contrast=0.5), contrast=0.0)
    mean = PIXELS[0].mean(axis=(0, 1))
    assert gray == pytest.approx(mean + (PIXELS[0] - mean) / 2, abs=1e-2)
