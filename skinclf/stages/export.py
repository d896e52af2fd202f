"""A finished run → its model for another runtime, which was seen to predict what Keras does."""

import logging
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skinclf import __version__
from skinclf.config.schema import RunConfig
from skinclf.errors import DatasetError, RunError, SkinclfError, UsageError
from skinclf.spec.image_spec import ImageSpec
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import delete, exists, join, read_bytes, write_bytes, write_json
from skinclf.storage.parquet_files import iter_batches
from skinclf.storage.run_folder import LABELS, RunFolder
from skinclf.training.exports import FORMATS, ExportFormat, format_named, versions_of
from skinclf.training.frozen_graph import check_images
from skinclf.training.predictor import Predictor

TOLERANCE = 1e-4
"""How far a probability may be from Keras's."""

PHOTOGRAPHS = 56
"""Of the dataset, that are compared besides the eight check images."""

EXPORT = "export.json"

OTHER_FORMAT = f"Nothing was written; choose another format: --to {'|'.join(FORMATS)}"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Export:
    """What export.json says."""

    format: str
    model: str  # the SHA-256 of model.keras
    classes: list[str]  # in the order of the probabilities
    height: int
    width: int
    images_compared: int
    largest_difference: float  # of a probability from Keras's
    versions: dict[str, str]  # of the packages that wrote and read it


def export(config: RunConfig, to: str, output: str) -> Export:
    """Write the run's model in the format `to` to the new folder `output`.

    The folder has the model, labels.json and, written last, export.json. Raises ConfigError where
    the format is unknown or its packages are missing, UsageError where there is something at
    `output`, RunError where the run is not finished or where the exported model does not predict
    what Keras does; then nothing is written.
    """
    written_as = format_named(to)
    _check_new(output)
    run, predictor = RunFolder(config.path), Predictor.of_run(config.path, decided=False)
    images = images_to_compare(run)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "export"
        folder.mkdir()
        found = _written_and_run(run, predictor.image, written_as, folder, images)
        exported = Export(
            format=to,
            model=predictor.digest,
            classes=list(predictor.taxonomy.codes),
            height=predictor.image.height,
            width=predictor.image.width,
            images_compared=len(images),
            largest_difference=float(np.abs(found - predictor.load(0)(images)).max()),
            versions={"skinclf": __version__}
            | versions_of("keras", "tensorflow", *written_as.packages),
        )
        if not exported.largest_difference <= TOLERANCE:  # nor where it is no number
            raise RunError(
                f"{run}: as {to}, probabilities are up to {exported.largest_difference:.1g} from "
                f"Keras's, expected at most {TOLERANCE:g}. {OTHER_FORMAT}"
            )
        (folder / LABELS).write_bytes(read_bytes(run.labels))
        _publish(folder, output, exported)
    log.info("wrote the model of %s as %s to %s", run, to, output)
    return exported


def _written_and_run(
    run: RunFolder,
    image: ImageSpec,
    written_as: ExportFormat,
    folder: Path,
    images: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Write the model to the local folder → what it predicts there for the images."""
    try:
        written_as.write(run, image, folder)
        return written_as.read(folder)(images)
    except SkinclfError:
        raise
    except Exception as error:  # any: a network may have what a format lacks
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{run}: can't be exported: {text}. {OTHER_FORMAT}") from error


def images_to_compare(run: RunFolder) -> NDArray[np.uint8]:
    """(n, height, width, 3) uint8: the check images and, where the run's dataset is still there,
    photographs of its test split.
    """
    image = run.read_labels().image
    pixels = b"".join(_photographs(run))
    photographs = np.frombuffer(pixels, np.uint8).reshape(-1, *image.shape)
    return np.concatenate([check_images(image), photographs])


def _photographs(run: RunFolder) -> list[bytes]:
    """The `pixels` of some test images of the run's dataset; none where it is gone."""
    with suppress(DatasetError, RunError, FileNotFoundError):
        dataset = Dataset.read(run.read_config().dataset.path)
        if dataset.same_as(run.read_dataset()):
            for file in dataset.files_of("test"):
                path = join(dataset.path, file.path)
                for rows in islice(iter_batches(path, ["pixels"], PHOTOGRAPHS), 1):
                    return rows["pixels"].to_pylist()
    return []


def _check_new(output: str) -> None:
    if not output:
        raise UsageError("--output: is empty; name a new folder for the model")
    if exists(output):
        raise UsageError(f"{output}: exists. Name another folder: --output PATH, or remove it")


def _publish(folder: Path, output: str, exported: Export) -> None:
    """Copy the files of a local folder to `output` on any storage: all, or none."""
    _check_new(output)  # another export may have been faster
    try:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder).as_posix()
            write_bytes(join(output, name), file.read_bytes())
        write_json(join(output, EXPORT), asdict(exported))
    except BaseException:
        with suppress(OSError):
            delete(output)
        raise
