"""A run's model as MLflow calls it: files of images in, probabilities and predicted classes out.

MLflow imports this module where it loads the model; reporting.mlflow_model saves it.
"""

import os

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf.config.schema import ArchiveConfig
from skinclf.spec.decision import decide
from skinclf.spec.image import decode_rgb
from skinclf.spec.rejects import RejectedImage
from skinclf.spec.taxonomy import probability_column
from skinclf.training.predictor import Predictor

COLUMN = "content"
"""The column of image files: as Spark's binaryFile source calls it."""

BATCH_SIZE = 64


class ImageClassifier:
    """A model that decodes what it reads."""

    def __init__(self, predictor: Predictor) -> None:
        self._image, self._codes = predictor.image, predictor.taxonomy.codes
        self._weights = predictor.weights
        threads = os.environ.get("OMP_NUM_THREADS", "")  # Spark sets it, to the cores of a task
        self._predict = predictor.load(int(threads) if threads.isdecimal() else 0)

    def predict(self, images: pd.DataFrame) -> pd.DataFrame:
        """The bytes of image files in the column `content` → `probability_…`, a column a class
        (float32), and `predicted`, the code that is decided on.

        One row an image, in their order; nulls where there is no image that can be decoded. Raises
        RunError where the network gives no numbers for one that can.
        """
        files = list(images[COLUMN])
        found = np.full((len(files), len(self._codes)), np.nan, np.float32)
        for start in range(0, len(files), BATCH_SIZE):
            decoded = enumerate(map(self._decoded, files[start : start + BATCH_SIZE]), start)
            pixels = {row: image for row, image in decoded if image is not None}
            if pixels:
                found[list(pixels)] = self._predict(np.stack(list(pixels.values())))
        columns = {probability_column(code): found[:, n] for n, code in enumerate(self._codes)}
        return pd.DataFrame(columns | {"predicted": self._labels(found)}, index=images.index)

    def _decoded(self, file: bytes | None) -> NDArray[np.uint8] | None:
        try:
            return decode_rgb(file or b"", self._image, max_pixels=ArchiveConfig().max_pixels)
        except RejectedImage:
            return None

    def _labels(self, found: NDArray[np.float32]) -> pd.Categorical:
        """The classes that are decided on.

        As categories of pandas' own strings: of those, MLflow's Spark UDF keeps a null, where it
        makes the text "None" of None.
        """
        known = ~np.isnan(found).any(axis=1)
        labels = np.where(known, decide(np.nan_to_num(found), self._weights), -1)
        return pd.Categorical.from_codes(labels, pd.Index(self._codes, dtype="string"))


def _load_pyfunc(data_path: str) -> ImageClassifier:
    """What MLflow calls, by this name, with the folder of model.keras and labels.json."""
    return ImageClassifier(Predictor.of_run(data_path))
