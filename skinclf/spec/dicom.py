"""DICOM, the format of hospitals' archives, by pydicom (extra `dicom`): the picture alone.

Nothing of the patient leaves this module. Only elements about pixels are read, and what pydicom
says of a damaged file is not repeated: it may quote a value.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skinclf.spec.image_spec import check_pixels
from skinclf.spec.rejects import RejectedImage

FRAME_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
"""How the first fragment of a compressed frame begins: JPEG, JPEG 2000's codestream and file."""

PREAMBLE, MAGIC = 128, b"DICM"
"""PS3.10, section 7.1: bytes before the magic word."""

UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""Transfer syntaxes: implicit little endian, explicit little and big endian."""

ENCAPSULATED = (
    *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"),
    *("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
)
"""Those whose frames are files that Pillow reads: JPEG baseline and extended, JPEG 2000."""

COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE, GRAYS = "PALETTE COLOR", ("MONOCHROME1", "MONOCHROME2")
"""Photometric interpretations: PS3.3, section C.7.6.3.1.2."""

ELEMENTS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *(f"{name}PaletteColorLookupTableDescriptor" for name in ("Red", "Green", "Blue")),
    *(f"{name}PaletteColorLookupTableData" for name in ("Red", "Green", "Blue")),
    *("ICCProfile", "BurnedInAnnotation", "PixelData"),
)
"""All that is read of a file."""


def is_dicom(file: bytes) -> bool:
    """Whether a file begins as PS3.10 has it; its name says nothing."""
    return file[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC


def open_dicom(file: bytes, max_pixels: int) -> Image.Image:
    """The picture in a DICOM file, decoded: 8 bits, RGB or gray, with its color profile.

    Raises ImportError without the extra, and RejectedImage: `too_large`, before anything is
    decoded; `unsupported` for what is no single picture of 8 bits; `truncated`, `unreadable`.
    """
    import pydicom.pixels  # noqa: F401 - an ImportError here is the extra's

    try:
        with _nothing_told():
            return _picture(file, max_pixels)
    except RejectedImage:
        raise
    except Exception as error:  # any: what a file makes its decoder raise is the file's own
        short = any(words in str(error).lower() for words in ("truncated", "less than expected"))
        detail = f"DICOM: {type(error).__name__} in its decoder"
        raise RejectedImage("truncated" if short else "unreadable", detail) from None


def _picture(file: bytes, max_pixels: int) -> Image.Image:
    from pydicom import dcmread

    syntax = _transfer_syntax(file)
    tags: list[Any] = list(ELEMENTS)
    _check(dcmread(io.BytesIO(file), stop_before_pixels=True, specific_tags=tags), max_pixels)
    found = dcmread(io.BytesIO(file), specific_tags=tags)
    if "PixelData" not in found:  # pydicom drops what does not end
        raise RejectedImage("truncated", "DICOM that describes a picture and has no pixels of it")
    _check_frames(_frames(found, is_packed=syntax in ENCAPSULATED))
    if syntax in ENCAPSULATED:
        _check_frame(found.PixelData, max_pixels)
    picture = Image.fromarray(_pixels(found, "pillow" if syntax in ENCAPSULATED else ""))
    profile = found.get("ICCProfile")
    if isinstance(profile, bytes):
        picture.info["icc_profile"] = profile
    return picture


def _transfer_syntax(file: bytes) -> str:
    """How the rest of a file is coded. One that is packed as a whole is not even begun: it may
    unpack to any size.
    """
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    opened = io.BytesIO(file)
    opened.seek(PREAMBLE + len(MAGIC))
    head = read_dataset(
        opened,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _kind, _length: tag >> 16 != 2,
    )
    syntax = str(head.get("TransferSyntaxUID", ""))
    if syntax not in (*UNCOMPRESSED, *ENCAPSULATED):
        name = UID(syntax).name
        name = "an unknown one" if name == syntax else name
        raise RejectedImage(
            "unsupported",
            f"DICOM in the transfer syntax {name}; read are uncompressed ones, JPEG baseline and "
            f"JPEG 2000",
        )
    return syntax


def _check(found: Any, max_pixels: int) -> None:
    """Raise RejectedImage unless a file describes one picture that can become 8-bit RGB."""
    if "Rows" not in found:
        raise RejectedImage("unsupported", "DICOM without a picture, such as a report or an index")
    _check_frames(int(found.get("NumberOfFrames") or 1))
    # Anything but NO, several values among them: an image too few does no harm.
    if str(found.get("BurnedInAnnotation") or "NO").strip().upper() != "NO":
        raise RejectedImage(
            "unsupported", "DICOM whose picture shows text, of the patient maybe (0028,0301)"
        )
    check_pixels(found.Columns, found.Rows, max_pixels)
    colors = found.PhotometricInterpretation
    samples = 3 if colors in COLORS else 1
    if colors not in (*COLORS, *GRAYS, PALETTE) or found.SamplesPerPixel != samples:
        raise RejectedImage("unsupported", "DICOM whose pixels are no RGB, YBR, palette or gray")
    eight = (found.BitsAllocated, found.BitsStored, found.PixelRepresentation) == (8, 8, 0)
    if colors != PALETTE and not eight:
        raise RejectedImage(
            "unsupported",
            f"DICOM with pixels of {int(found.BitsStored)} bits: nothing says how they become "
            f"8-bit RGB",
        )


def _frames(found: Any, *, is_packed: bool) -> int:
    """How many frames the pixels are, whatever NumberOfFrames says; some files lack it."""
    from pydicom.encaps import generate_fragments
    from pydicom.pixels.utils import get_expected_length

    if is_packed:
        fragments = generate_fragments(found.PixelData)
        return max(1, sum(fragment.startswith(FRAME_STARTS) for fragment in fragments))
    return max(1, len(found.PixelData) // get_expected_length(found))


def _check_frames(count: int) -> None:
    """Raise RejectedImage unless there is one: to take the first would lose others in silence."""
    if count != 1:
        raise RejectedImage("unsupported", f"DICOM with {count} frames; one is expected")


def _check_frame(data: bytes, max_pixels: int) -> None:
    """Raise RejectedImage where a compressed frame is larger than its file says."""
    from pydicom.encaps import get_frame

    frame = get_frame(data, 0, number_of_frames=1)
    with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as opened:
        check_pixels(opened.width, opened.height, max_pixels)


def _pixels(found: Any, plugin: str) -> NDArray[np.uint8]:
    """(height, width, 3) or (height, width) uint8."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    pixels = pixel_array(found, index=0, decoding_plugin=plugin)
    if found.PhotometricInterpretation == PALETTE:
        pixels = apply_color_lut(pixels, found)[..., :3]
        if found.RedPaletteColorLookupTableDescriptor[2] > 8:
            pixels = pixels >> 8
    if found.PhotometricInterpretation == "MONOCHROME1":  # its zero is white
        pixels = 255 - pixels
    return pixels.astype(np.uint8)


@contextmanager
def _nothing_told() -> Iterator[None]:
    """Neither warnings nor log lines of pydicom, which quote values."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "pydicom"]
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
