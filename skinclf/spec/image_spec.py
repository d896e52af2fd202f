"""What an image is to the network: its size, channels and how it gets there."""

from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field

from skinclf.spec.rejects import RejectedImage
from skinclf.spec.settings import Settings

ImageFormat = Literal[
    "JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000", "HEIF", "DICOM"
]
FORMATS: tuple[ImageFormat, ...] = get_args(ImageFormat)
"""Pillow's names of the formats that photographs have; JPEG stands for MPO, too. It knows others,
some of which start a program: its reader of EPS runs Ghostscript on any file that begins like
PostScript. HEIF and DICOM need extras: see extra_formats."""

ResizeFilter = Literal["box", "bilinear", "hamming", "bicubic", "lanczos"]
Side = Annotated[int, Field(ge=8, le=4096)]


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise RejectedImage `too_large` for an image of more pixels."""
    if width * height > max_pixels:
        raise RejectedImage("too_large", f"{width}x{height} pixels, at most {max_pixels} taken")


class ImageSpec(Settings):
    """Images as they are stored, learned from and scored: uint8, RGB, height x width x channels.

    By default those of Benbrahim, Hachimi and Amine (2020). A dataset and a model each carry
    theirs: what differs can't meet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: Side = 75
    width: Side = 100
    channels: Literal[3] = 3
    filter: ResizeFilter = "bicubic"
    """Pillow's default for `resize`, hence what HAM10000 notebooks use. Another one moves pixels by
    one to two gray levels, so a model keeps to the one that it was trained with."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def size_bytes(self) -> int:
        """Bytes of one image's `pixels`: 22,500 by default."""
        return self.height * self.width * self.channels


BENBRAHIM_2020 = ImageSpec()
"""75x100 RGB, the input of the paper's network."""
