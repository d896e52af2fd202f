"""Colors of a camera → sRGB, by the profile that a file carries."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

MOST_PROFILE_BYTES = 4 * 2**20
"""Of a color profile; those of printers, the largest, have half a megabyte to two."""

PngImagePlugin.MAX_TEXT_CHUNK = MOST_PROFILE_BYTES  # Pillow rejects a PNG whose profile has 1 MiB

SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
"""Pillow's mode → the color space of a profile for it."""

SAME_LEVELS = 2
"""Of 255: a profile that changes no color by more is called sRGB. Its many versions differ among
each other by 1, Display P3 from it by 60."""

LEAST_LEVELS = 64
"""Of 256 levels of one channel a profile keeps so many apart, or it is damaged: it would make an
image flat. Linear light keeps 159, a gamma of 3 keeps 225, one of 30 fewer than 64."""

PLAIN_MODES = {"1": "L", "LA": "L", "L": "L", "CMYK": "CMYK"}
"""Pillow's mode → the one that a profile is applied to; "RGB" for all others."""


def to_srgb(image: Image.Image) -> Image.Image:
    """An image as 8-bit RGB, its colors those of sRGB.

    `image` has one of Pillow's 8-bit modes; `info["icc_profile"]` says what its numbers mean. Where
    that is sRGB, or missing, damaged or of another color space, they stay as they are.
    """
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and 0 < len(profile) <= MOST_PROFILE_BYTES:
        mode = PLAIN_MODES.get(image.mode, "RGB")
        transform = _transform(profile, mode)
        if transform is not None:
            converted = ImageCms.applyTransform(image.convert(mode), transform)
            if converted is not None:
                converted.info = dict(image.info)  # how it is turned, too
                return converted
    return image.convert("RGB")


@lru_cache(maxsize=8)  # an archive has a few cameras, and a profile takes milliseconds to read
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What makes sRGB of pixels of a mode; None where there is nothing to do, or no way."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space.strip() != SPACES[mode]:
            return None
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(opened, srgb, mode, "RGB")
        if _flattens(transform, mode) or (mode != "CMYK" and _changes_nothing(transform, mode)):
            return None
        return transform
    except Exception:  # any: a damaged profile must not cost the image
        return None


def _flattens(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the levels of a channel can hardly be told apart any more."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    ramps = np.eye(channels, dtype=np.uint8)[:, None] * np.arange(256, dtype=np.uint8)[:, None]
    before = Image.fromarray(ramps.squeeze(2) if channels == 1 else ramps, mode)
    after = np.asarray(ImageCms.applyTransform(before, transform))
    return any(len(np.unique(ramp, axis=0)) < LEAST_LEVELS for ramp in after)


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    colors: NDArray[np.uint8] = np.arange(256, dtype=np.uint8).reshape(16, 16)
    if mode == "RGB":
        levels = np.linspace(0, 255, 9).round().astype(np.uint8)
        colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    before = Image.fromarray(colors)
    after = ImageCms.applyTransform(before, transform)
    if after is None:
        return True
    difference = np.asarray(after, np.int16) - np.asarray(before.convert("RGB"), np.int16)
    return bool(np.abs(difference).max() <= SAME_LEVELS)
