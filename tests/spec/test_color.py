"""Colors mean those of sRGB, whatever camera they are from."""

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from skinclf.spec.image import decode_rgb, decode_thumbnail
from skinclf.system.time_limit import time_limit
from tests.support.images import encoded
from tests.support.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    printer_profile,
    profile,
    srgb_curve,
)

P3 = profile(DISPLAY_P3, srgb_curve())
ADOBE = profile(ADOBE_RGB, [round(2.19921875 * 256)])
SKIN = np.full((150, 200, 3), (200, 120, 90), np.uint8)


def decoded(pixels: np.ndarray, icc: bytes | None, kind: str = "PNG") -> NDArray[np.int16]:
    options = {} if icc is None else {"icc_profile": icc}
    file = encoded(pixels, kind, **options)
    return decode_rgb(file, max_pixels=10**6).astype(np.int16)


@pytest.mark.parametrize(
    ("icc", "srgb"),
    [
        # By hand: linear light, both spaces' matrices for D65 (their primaries), sRGB's curve.
        (P3, (213, 115, 83)),
        (ADOBE, (224, 121, 88)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_wide_colors_become_srgb(icc: bytes, srgb: tuple[int, int, int], kind: str) -> None:
    assert np.abs(decoded(SKIN, icc, kind) - srgb).max() <= 1


@pytest.mark.parametrize(
    "icc",
    [
        profile(SRGB, srgb_curve()),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
)
def test_pixels_of_srgb_stay_as_they_are(icc: bytes) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (90, 120, 3), np.uint8)
    for kind in ("PNG", "JPEG"):
        assert (decoded(noise, icc, kind) == decoded(noise, None, kind)).all()


def test_a_png_with_a_large_profile_is_read() -> None:
    """Two MiB, as printers' may have; Pillow itself would refuse the file."""
    large = P3 + np.random.default_rng(1).bytes(2 * 2**20)
    assert decoded(SKIN, large).shape == (75, 100, 3)


def test_a_picture_with_a_profile_is_turned_like_any_other() -> None:
    left = np.zeros((150, 200, 3), np.uint8)
    left[:, :100] = (200, 120, 90)
    exif = Image.Exif()
    exif[0x0112] = 6  # left becomes up
    for kind in ("PNG", "JPEG", "TIFF"):
        file = encoded(left, kind, icc_profile=P3, exif=exif)
        pixels = decode_rgb(file, max_pixels=10**6)
        assert pixels.shape == (75, 100, 3)
        assert np.abs(pixels[:30].astype(int) - (213, 115, 83)).max() <= 6
        assert pixels[45:].max() <= 6
        thumbnail = decode_thumbnail(file, 80, max_pixels=10**6)
        assert np.abs(thumbnail[5:30, 15:65].astype(int) - (213, 115, 83)).max() <= 6


def test_transparency_and_palettes_with_a_profile() -> None:
    opaque = np.dstack([SKIN, np.full((150, 200), 255, np.uint8)])
    assert np.abs(decoded(opaque, P3) - (213, 115, 83)).max() <= 1
    buffer = io.BytesIO()
    Image.fromarray(SKIN).quantize(4).save(buffer, "PNG", icc_profile=P3)
    pixels = decode_rgb(buffer.getvalue(), max_pixels=10**6).astype(int)
    assert np.abs(pixels - (213, 115, 83)).max() <= 1


def huge() -> bytes:
    return P3[:128] + bytes(5 * 2**20)


def endless_tags() -> bytes:
    return P3[:128] + struct.pack(">I", 2**32 - 1) + P3[132:]


def long_curve() -> bytes:
    place = P3.index(b"curv") + 8
    return P3[:place] + struct.pack(">I", 2**31) + P3[place + 4 :]


@pytest.mark.parametrize(
    "icc",
    [
        *(b"", b"x", b"not a profile" * 100, P3[:200], P3[:128], bytes(3000)),
        *(huge(), endless_tags(), long_curve()),
        P3.replace(b"RGB ", b"GRAY"),
        P3.replace(b"RGB ", b"CMYK"),
        # These would make all pixels one color, or nearly.
        profile(SRGB, [0] * 1024),
        profile(SRGB, [2**16 - 1]),  # a gamma of 256
        profile(((0, 0, 0), *SRGB[1:]), srgb_curve()),
    ],
    ids=range(14),
)
def test_a_profile_that_is_of_no_use_costs_no_image(icc: bytes) -> None:
    with time_limit(60):
        assert (decoded(SKIN, icc or None, "TIFF") == SKIN[0, 0]).all()


def test_the_inks_of_a_printer_become_srgb() -> None:
    buffer = io.BytesIO()
    inks = Image.new("CMYK", (120, 90), (0, 0, 255, 0))
    inks.save(buffer, "TIFF", icc_profile=printer_profile())
    pixels = decode_rgb(buffer.getvalue(), max_pixels=10**6).astype(int)
    # Lab (100, 0, 90), which is lighter and less blue than sRGB has it.
    assert np.abs(pixels - (255, 247, 55)).max() <= 20


def test_damaged_profiles_raise_nothing() -> None:
    random = np.random.default_rng(7)
    for _ in range(300):
        damaged = bytearray(P3)
        for _ in range(random.integers(1, 9)):
            damaged[random.integers(0, 400)] = random.integers(0, 256)
        assert decoded(SKIN, bytes(damaged), "TIFF").shape == (75, 100, 3)


def test_grey_with_a_profile_of_colors_stays_grey() -> None:
    buffer = io.BytesIO()
    Image.new("L", (120, 90), 77).save(buffer, "JPEG", icc_profile=P3)
    assert (decode_rgb(buffer.getvalue(), max_pixels=10**6) == 77).all()
