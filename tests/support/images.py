"""Image files, and zips of them."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(color: tuple[int, int, int] = (200, 120, 90), size: tuple[int, int] = (60, 45)) -> bytes:
    """A plain JPEG; size is width x height."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "JPEG")
    return buffer.getvalue()


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    """An image file of an array."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path
