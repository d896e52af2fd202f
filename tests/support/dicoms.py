"""DICOM files of generated pictures, with an invented patient."""

import io
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    generate_uid,
)

from tests.support.images import encoded

CANARY = "CANARYPATIENT"
"""In each element of the patient's; it must be nowhere else."""


def dicom(pixels: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **elements: Any) -> bytes:
    """A file of (height, width, 3) or (height, width) uint8; `elements` replace what is usual."""
    height, width, *rest = pixels.shape
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.77.1.4")  # VL Photographic Image
    meta.MediaStorageSOPInstanceUID = generate_uid()
    found = FileDataset(
        "",
        {},
        file_meta=meta,
        preamble=bytes(128),
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
    )
    found.SOPClassUID = meta.MediaStorageSOPClassUID
    found.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    found.PatientName = f"{CANARY}^NAME"
    found.PatientID = f"{CANARY}-1"
    found.PatientComments = CANARY
    found.InstitutionName = CANARY
    found.ImageComments = CANARY
    found.PatientBirthDate = "19010203"
    found.Rows, found.Columns = height, width
    found.SamplesPerPixel = 3 if rest else 1
    found.PhotometricInterpretation = "RGB" if rest else "MONOCHROME2"
    if rest:
        found.PlanarConfiguration = 0
    found.BitsAllocated = found.BitsStored = 8
    found.HighBit, found.PixelRepresentation = 7, 0
    found.PixelData = pixels.tobytes() + bytes(pixels.size % 2)
    found["PixelData"].VR = "OB"
    for name, value in elements.items():
        setattr(found, name, value)
    buffer = io.BytesIO()
    found.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(pixels: np.ndarray, kind: str, **elements: Any) -> bytes:
    """The same with a frame of "JPEG" or "JPEG2000"."""
    syntax = {"JPEG": JPEGBaseline8Bit, "JPEG2000": JPEG2000Lossless}[kind]
    options = {"quality": 95} if kind == "JPEG" else {"no_jp2": True}
    frame = encoded(pixels, kind, **options)
    colors = "YBR_FULL_422" if kind == "JPEG" else "YBR_RCT"
    given = {"PixelData": encapsulate([frame]), "PhotometricInterpretation": colors, **elements}
    return dicom(pixels, syntax, **given)


def ybr(pixels: np.ndarray) -> np.ndarray:
    """RGB → YCbCr."""
    return np.asarray(Image.fromarray(pixels).convert("YCbCr"))
