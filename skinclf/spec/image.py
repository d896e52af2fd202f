"""File bytes → one network input. The only decoder, for prepare and score alike."""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from skinclf.errors import UsageError
from skinclf.spec.color import to_srgb
from skinclf.spec.extra_formats import EXTRA_FORMATS, extra_format_of, open_extra
from skinclf.spec.image_spec import BENBRAHIM_2020, FORMATS, ImageSpec, check_pixels
from skinclf.spec.rejects import RejectedImage

EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
"""Pillow's modes (pixel formats) that become 8-bit RGB without a guess."""

PILLOWS = tuple(name for name in FORMATS if name not in {form.name for form in EXTRA_FORMATS})
"""The formats that Pillow reads without a plugin."""

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
"""Unsigned 16-bit gray: its high byte is what is meant."""


def pixels_array(pixels: bytes, image: ImageSpec) -> NDArray[np.uint8]:
    """The `pixels` of a tensor → (height, width, 3) uint8, RGB."""
    array: NDArray[np.uint8] = np.frombuffer(pixels, np.uint8).reshape(image.shape)
    return array


def check_batch(images: object, image: ImageSpec) -> None:
    """Raise UsageError unless these are what a model reads: (n, height, width, 3) uint8."""
    found = type(images).__name__
    if isinstance(images, np.ndarray):
        if images.dtype == np.uint8 and images.shape[1:] == image.shape:
            return
        found = f"{images.dtype} {images.shape}"
    raise UsageError(
        f"images: uint8 (n, {', '.join(map(str, image.shape))}), RGB, is expected, got {found}. "
        f"skinclf.spec.image.decode_rgb makes one of a file"
    )


def decode_rgb(
    file: bytes,
    image: ImageSpec = BENBRAHIM_2020,
    *,
    max_pixels: int,
    formats: tuple[str, ...] = FORMATS,
) -> NDArray[np.uint8]:
    """Decode an image file and resize it to one network input.

    Returns (height, width, 3) uint8, sRGB, 0–255; the aspect ratio is not kept. EXIF rotation is
    applied; gray, CMYK, palette and 16-bit images become 8-bit RGB, and colors those of sRGB where
    the file has another profile. JPEGs are decoded at the smallest of 1/1, 1/2, 1/4, 1/8 that still
    is twice the result each way, which is 1.5 times as fast; of HAM10000 within 4 gray levels of
    decoding in full.

    Raises RejectedImage: `empty`, `too_large` (over `max_pixels`), `truncated`, `unsupported` (a
    pixel format that does not say how it becomes 8-bit RGB, or a format whose extra is missing),
    `unreadable` (whatever else the decoder raises, or none of `formats`).
    """
    return _decoded(file, lambda opened: _to_array(opened, image), max_pixels, formats)


def decode_thumbnail(
    file: bytes, side: int, *, max_pixels: int, formats: tuple[str, ...] = FORMATS
) -> NDArray[np.uint8]:
    """Decode an image file and shrink it for people: the aspect ratio is kept.

    Returns (side, side, 3) uint8, RGB: the whole picture in the middle, white beside it. Raises
    what `decode_rgb` raises.
    """
    return _decoded(file, lambda opened: _to_thumbnail(opened, side), max_pixels, formats)


CUT_OFF = ("truncated", "unexpected end of file")
"""What Pillow and pillow-heif say of a file that ends too soon."""


def _decoded(
    file: bytes,
    convert: Callable[[Image.Image], NDArray[np.uint8]],
    max_pixels: int,
    formats: tuple[str, ...],
) -> NDArray[np.uint8]:
    """What `convert` makes of an opened image file. Raises RejectedImage: see `decode_rgb`."""
    if not file:
        raise RejectedImage("empty", "0 bytes")
    try:
        with _opened(file, max_pixels, formats) as opened:
            check_pixels(opened.width, opened.height, max_pixels)
            return convert(opened)
    except RejectedImage:
        raise
    except Image.DecompressionBombError:  # Pillow's own limit, which is above ours
        raise RejectedImage("too_large", f"more than {max_pixels} pixels") from None
    except UnidentifiedImageError:
        raise RejectedImage("unreadable", f"none of the formats {', '.join(formats)}") from None
    except Exception as error:  # any: what a file makes its decoder raise is the file's own
        detail = f"{type(error).__name__}: {error}"
        short = any(words in str(error).lower() for words in CUT_OFF)
        reason = "truncated" if short else "unreadable"
        raise RejectedImage(reason, detail) from None


def _opened(file: bytes, max_pixels: int, formats: tuple[str, ...]) -> Image.Image:
    form = extra_format_of(file)
    if form is not None and form.name in formats:
        return open_extra(form, file, max_pixels)
    return Image.open(io.BytesIO(file), formats=[name for name in formats if name in PILLOWS])


def _to_array(opened: Image.Image, image: ImageSpec) -> NDArray[np.uint8]:
    if opened.format == "TIFF":
        opened.load()  # which turns it, alone of all formats
    orientation = opened.getexif().get(0x0112, 1)
    turned = orientation in (5, 6, 7, 8)  # EXIF: the stored rows are the picture's columns
    target = (image.height, image.width) if turned else (image.width, image.height)
    opened.draft("RGB", (2 * target[0], 2 * target[1]))
    rgb = _to_rgb(opened).resize(target, Image.Resampling[image.filter.upper()])
    if orientation != 1:
        rgb = ImageOps.exif_transpose(rgb)
    return np.asarray(rgb, dtype=np.uint8)


def _to_thumbnail(opened: Image.Image, side: int) -> NDArray[np.uint8]:
    opened.draft("RGB", (2 * side, 2 * side))
    rgb = _to_rgb(opened)
    if opened.getexif().get(0x0112, 1) != 1:
        rgb = ImageOps.exif_transpose(rgb)
    return np.asarray(ImageOps.pad(rgb, (side, side), color="white"), dtype=np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    # PNG and PPM have no gray deeper than 16 bits; Pillow gives some of it as 32-bit numbers.
    if image.mode in SIXTEEN_BITS or (image.mode == "I" and image.format in ("PNG", "PPM")):
        high = np.asarray(image) >> 8  # no further copies: a small file may have many pixels
        np.clip(high, 0, 255, out=high)
        eight = Image.fromarray(high.astype(np.uint8)).convert("RGB")
        eight.info = dict(image.info)  # says how it is turned
        return eight
    if image.mode not in EIGHT_BITS:
        raise RejectedImage(
            "unsupported",
            f"{image.format} with pixels of Pillow's mode {image.mode}: nothing says how they "
            f"become 8-bit RGB",
        )
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return to_srgb(image)
