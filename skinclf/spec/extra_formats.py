"""Image formats that Pillow does not read itself, each by an extra of this package."""

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

from skinclf.spec.dicom import is_dicom, open_dicom
from skinclf.spec.heif import is_heif, open_heif
from skinclf.spec.image_spec import ImageFormat
from skinclf.spec.rejects import RejectedImage


class ExtraFormat(NamedTuple):
    """A format that needs an extra."""

    name: ImageFormat
    extra: str  # as in pip install skinclf[EXTRA]
    recognizes: Callable[[bytes], bool]

    open: Callable[[bytes, int], Image.Image]
    """A file and the most pixels that it may have → the image, decoded or not. Raises ImportError
    without the extra, and RejectedImage."""


EXTRA_FORMATS = [
    ExtraFormat("HEIF", "heic", is_heif, open_heif),
    ExtraFormat("DICOM", "dicom", is_dicom, open_dicom),
]
"""The registry: another format is one more entry, and a name in ImageFormat."""


def extra_format_of(file: bytes) -> ExtraFormat | None:
    """The format of a file, if it is one of these."""
    return next((form for form in EXTRA_FORMATS if form.recognizes(file)), None)


def open_extra(form: ExtraFormat, file: bytes, max_pixels: int) -> Image.Image:
    """Open a file. Raises RejectedImage, and whatever the decoder raises."""
    try:
        return form.open(file, max_pixels)
    except ImportError:
        raise RejectedImage(
            "unsupported", f"{form.name} needs an extra: install skinclf[{form.extra}]"
        ) from None
