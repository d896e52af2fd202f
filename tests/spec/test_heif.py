"""HEIC, with its extra and without."""

import sys
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from skinclf.spec.heif import _register, is_heif
from skinclf.spec.image import decode_rgb, decode_thumbnail
from skinclf.spec.rejects import RejectedImage
from tests.support.images import encoded, jpeg
from tests.support.profiles import DISPLAY_P3, profile, srgb_curve

SKIN = np.full((300, 400, 3), (200, 120, 90), np.uint8)


def heic(pixels: np.ndarray, **options: object) -> bytes:
    _register()
    return encoded(pixels, "HEIF", quality=95, **options)


def reject_of(file: bytes, **options: object) -> RejectedImage:
    with pytest.raises(RejectedImage) as caught:
        decode_rgb(file, **{"max_pixels": 10**6, **options})  # type: ignore[arg-type]
    return caught.value


def test_heic_is_read() -> None:
    pixels = decode_rgb(heic(SKIN), max_pixels=10**6).astype(int)
    assert pixels.shape == (75, 100, 3)
    assert np.abs(pixels - (200, 120, 90)).max() <= 4


def test_an_iphone_s_colors_are_those_of_display_p3() -> None:
    file = heic(SKIN, icc_profile=profile(DISPLAY_P3, srgb_curve()))
    assert np.abs(decode_rgb(file, max_pixels=10**6).astype(int) - (213, 115, 83)).max() <= 4


def test_heic_is_turned_once() -> None:
    left = np.zeros((300, 400, 3), np.uint8)
    left[:, :200, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # left becomes up
    file = heic(left, exif=exif.tobytes())  # as bytes, it turns the picture by HEIF's own means
    assert b"irot" in file
    pixels = decode_rgb(file, max_pixels=10**6)
    assert pixels[:30, :, 0].min() > 240
    assert pixels[45:, :, 0].max() < 15
    assert decode_thumbnail(file, 80, max_pixels=10**6).shape == (80, 80, 3)


def test_without_the_extra_a_reject_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    file = heic(SKIN)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    _register.cache_clear()
    reject = reject_of(file)
    assert reject.reason == "unsupported"
    assert "install skinclf[heic]" in reject.detail
    _register.cache_clear()


def test_heic_has_the_limits_of_other_formats() -> None:
    file = heic(SKIN)
    assert reject_of(file, max_pixels=300 * 400 - 1).reason == "too_large"
    assert reject_of(file, formats=("JPEG", "PNG")).reason == "unreadable"
    assert reject_of(file[:-100]).reason == "truncated"


@pytest.mark.parametrize("side", [65_536, 2**31, 2**32 - 1])
def test_heic_that_claims_a_huge_size_is_too_large(side: int) -> None:
    file = heic(SKIN)
    place = file.index(b"ispe") + 8
    claim = side.to_bytes(4) * 2
    reject = reject_of(file[:place] + claim + file[place + 8 :])
    assert reject.reason == "too_large"
    assert "pixels" in reject.detail


def test_heic_is_known_by_its_brand() -> None:
    assert is_heif(heic(SKIN))
    assert is_heif(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic")
    assert not is_heif(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif")
    assert not is_heif(b"\xff\xff\xff\xffftypmif1")
    assert not is_heif(jpeg())
    assert not is_heif(b"")


def test_damaged_heic_is_decoded_or_rejected() -> None:
    random = np.random.default_rng(2)
    file = heic(np.asarray(random.integers(0, 256, (45, 60, 3)), np.uint8))
    for _ in range(150):
        damaged = bytearray(file)
        for _ in range(random.integers(1, 8)):
            damaged[random.integers(12, len(damaged))] = random.integers(0, 256)
        with suppress(RejectedImage):
            assert decode_rgb(bytes(damaged), max_pixels=10**6).shape == (75, 100, 3)
