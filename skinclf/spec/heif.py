"""HEIC, the format of iPhones, by pillow-heif (extra `heic`)."""

import io
import re
from functools import cache

from PIL import Image, UnidentifiedImageError

from skinclf.spec.image_spec import check_pixels

BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
"""ISO/IEC 23008-12, annex B: images and sequences that are coded by HEVC."""

ANY_CODING = (b"mif1", b"msf1")
"""Brands that leave the coding open; those that the file is compatible with then tell it."""

MOST_BRANDS = 64

EXTENT = re.compile(rb"\0\0\0\x14ispe\0\0\0\0(.{4})(.{4})", re.DOTALL)
"""ISO/IEC 23008-12, section 6.5.3: the box with the width and the height of an image."""


def is_heif(file: bytes) -> bool:
    """Whether a file begins like HEIC."""
    length = min(int.from_bytes(file[:4]), 4 * MOST_BRANDS)
    brand = file[8:12]
    if file[4:8] != b"ftyp" or brand not in (*BRANDS, *ANY_CODING):
        return False
    compatible = (file[place : place + 4] for place in range(16, length, 4))
    return brand in BRANDS or any(other in BRANDS for other in compatible)


def open_heif(file: bytes, max_pixels: int) -> Image.Image:
    """A HEIC file, not decoded yet; turned as it says.

    Raises ImportError without the extra, and RejectedImage `too_large`.
    """
    _register()
    try:
        return Image.open(io.BytesIO(file), formats=("HEIF",))
    except UnidentifiedImageError:
        for sides in EXTENT.findall(file):  # libheif reads none of 2**31 or more
            width, height = map(int.from_bytes, sides)
            check_pixels(width, height, max_pixels)
        raise


@cache
def _register() -> None:
    import pillow_heif

    # A task has one core.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, decode_threads=1)
