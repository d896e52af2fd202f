import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from skinclf.config import SparkConfig
from skinclf.tables.session import spark_session

REPOSITORY = Path(__file__).parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data"
"""HAM10000 (CC BY-NC 4.0), where a developer has it beside the checkout; never part of it."""


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    with spark_session("tests", SparkConfig(master="local[2]", driver_memory="1g")) as session:
        yield session


@pytest.fixture(scope="session")
def ham10000() -> Path:
    return _real("ham10000")


@pytest.fixture(scope="session")
def odd_images() -> Path:
    return _real("odd_images")


def _real(name: str) -> Path:
    folder = REAL_DATA / name
    if not folder.exists():
        pytest.skip(f"needs the real data in {folder}, which is not part of the repository")
    return folder


def jpeg(colour: tuple[int, int, int] = (200, 120, 90), size: tuple[int, int] = (60, 45)) -> bytes:
    """A plain JPEG; size is width x height."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
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
