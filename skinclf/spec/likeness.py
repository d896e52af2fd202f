"""What tells whether two images show one picture, whatever their size, quality or format."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

THUMBNAIL = (24, 18)
"""Width x height; RGB."""


class Likeness(NamedTuple):
    """A picture in short: what of it is compared with others."""

    perceptual_hash: int  # signed, 64 bits
    brightness: float  # the thumbnail's mean, 0–255
    thumbnail: bytes  # 24 x 18 RGB, row-major


def likeness(pixels: NDArray[np.uint8]) -> Likeness:
    """(height, width, 3) uint8 RGB → its hash, its brightness and its thumbnail."""
    picture = Image.fromarray(pixels)
    small = picture.resize(THUMBNAIL, Image.Resampling.BOX).tobytes()
    return Likeness(_difference_hash(picture), sum(small) / len(small), small)


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """A signed 64-bit number of an image: each bit says whether the picture, shrunk to 9 x 8 gray
    values, grows brighter from one place to the next (difference hash).

    Another size, quality or file format of the same picture changes few bits.
    """
    return _difference_hash(Image.fromarray(pixels))


def _difference_hash(picture: Image.Image) -> int:
    shrunk = picture.convert("L").resize((9, 8), Image.Resampling.BOX)
    gray = np.asarray(shrunk, np.int16)
    bits = np.packbits(gray[:, 1:] > gray[:, :-1])
    return int(bits.view(">i8")[0])
