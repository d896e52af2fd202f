"""A run's model as a model of MLflow, which brings its code along."""

import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from PIL import Image

import skinclf
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.taxonomy import Taxonomy, probability_column
from skinclf.storage.files import exists, read_bytes
from skinclf.storage.run_folder import DECISION, LABELS, MODEL, RunFolder
from skinclf.training import pyfunc

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

PACKAGES = (
    *("mlflow", "mlflow-skinny", "tensorflow", "tensorflow-cpu", "keras"),
    *("numpy", "pandas", "pillow", "pyarrow", "pydantic", "tomli-w"),
    *("pillow-heif", "pydicom"),
)
"""What the model needs where it is loaded, as far as it is installed here: of two names for one
package one is, and of the extras for HEIC and DICOM what this machine reads."""


def save_model(run: RunFolder, folder: str) -> None:
    """Write the model of a finished run to a new local folder, with MLflow's flavour pyfunc.

    Needs the extra `mlflow`; does not import TensorFlow. Raises RunError where there is no model.
    """
    from mlflow.pyfunc import save_model

    taxonomy, image = run.read_labels()
    with tempfile.TemporaryDirectory() as temporary, _quiet():
        data = Path(temporary) / "run"
        data.mkdir()
        (data / MODEL).write_bytes(run.read_model())
        (data / LABELS).write_bytes(read_bytes(run.labels))
        if exists(run.decision):
            (data / DECISION).write_bytes(read_bytes(run.decision))
        save_model(
            folder,
            loader_module=pyfunc.__name__,
            data_path=str(data),
            code_paths=[str(Path(skinclf.__file__).parent)],
            signature=_signature(taxonomy),
            input_example=pd.DataFrame({pyfunc.COLUMN: [_plain_image(image)]}),
            pip_requirements=_requirements(),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's log of how it saves a model; errors are shown."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _signature(taxonomy: Taxonomy) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    probabilities = [ColSpec("float", probability_column(code)) for code in taxonomy.codes]
    return ModelSignature(
        inputs=Schema([ColSpec("binary", pyfunc.COLUMN)]),
        outputs=Schema([*probabilities, ColSpec("string", "predicted")]),
    )


def _plain_image(image: ImageSpec) -> bytes:
    """A JPEG of the model's size, of one color of skin."""
    file = io.BytesIO()
    Image.new("RGB", (image.width, image.height), (222, 178, 158)).save(file, "JPEG")
    return file.getvalue()


def _requirements() -> list[str]:
    """The installed versions of PACKAGES, as pip reads them."""
    found = []
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{package}=={version(package)}")
    return found
