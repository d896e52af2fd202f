"""A saved model → a function from pixels to probabilities, loaded once per process."""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skinclf.errors import RunError
from skinclf.spec.decision import warn_of_views, weights_of
from skinclf.spec.image import check_batch
from skinclf.spec.image_spec import BENBRAHIM_2020, ImageSpec
from skinclf.spec.model import Predict
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from skinclf.spec.views import Tta, views_of
from skinclf.storage.files import absolute
from skinclf.storage.run_folder import Labels, RunFolder, model_digest
from skinclf.system.zip_errors import ZIP_ERRORS
from skinclf.training import import_tensorflow

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Predictor:
    """Where a model lies, which one it must be, what it reads and predicts: small enough to go to
    every Spark task.
    """

    run: str
    digest: str
    taxonomy: Taxonomy = HAM10000
    image: ImageSpec = BENBRAHIM_2020
    precision: str = "float32"  # or "bfloat16": half the time on a CPU that has it
    tta: Tta = "none"  # test-time augmentation: the views whose predictions are averaged
    weights: tuple[float, ...] = ()  # of the classes, to decide on one; () for the most probable

    @classmethod
    def of_run(
        cls,
        run: str | os.PathLike[str],
        precision: str = "float32",
        *,
        tta: Tta | None = None,
        decided: bool = True,
    ) -> "Predictor":
        """The model of a finished run. Raises RunError where there is none.

        `tta`: the views to average over; None: those that the run's decision was chosen for.
        `decided`: with the weights of that decision. Else it is not even read.
        """
        run = absolute(os.fspath(run))  # a task may run in another folder
        folder = RunFolder(run)
        content = folder.read_model()
        try:  # now, and not in the tasks: a .keras file is a zip
            damaged = zipfile.ZipFile(io.BytesIO(content)).testzip()
        except ZIP_ERRORS as error:
            damaged = str(error)
        if damaged:
            raise RunError(f"{run}: model.keras is damaged: {damaged}")
        labels = folder.read_labels()
        _check_fits(content, labels, run)
        digest = model_digest(content)
        decision = folder.read_decision(digest) if decided else None
        views: Tta = tta or (decision.tta if decision else "none")
        warn_of_views(decision, views, "score.tta")
        return cls(run, digest, *labels, precision, views, weights_of(decision, labels.taxonomy))

    def load(self, threads: int) -> Predict:
        """The model in this process, read on the first call only, computing on `threads` cores."""
        return _load(self, threads)

    def read_network(self) -> "keras.Model":
        """The network of the model, in the precision asked for. Raises RunError where the run has
        another model by now, or one that computes in float32 alone.
        """
        from skinclf.training.networks import build_network

        folder = RunFolder(self.run)
        model = read_keras_model(folder.read_model(self.digest), self.run)
        if self.precision == "float32":
            return model
        network = folder.read_config().model
        classes = len(self.taxonomy)
        precise = build_network(network, self.image, classes, dropout=0.0, precision=self.precision)
        try:
            precise.set_weights(model.get_weights())
        except ValueError:
            raise RunError(
                f"{self.run}: the network {network.name} has changed since it was trained, so its "
                f"model computes in float32 alone: score.precision, or train.precision of what it "
                f"teaches"
            ) from None
        return precise


def _check_fits(content: bytes, labels: Labels, run: str) -> None:
    """Raise RunError unless a .keras file reads and gives what labels.json says, as far as its
    config.json is of the form that Keras 3 writes.
    """
    with suppress(KeyError, ValueError, TypeError, IndexError):
        described = json.loads(zipfile.ZipFile(io.BytesIO(content)).read("config.json"))
        first, *_, last = (layer["config"] for layer in described["config"]["layers"])
        shape, outputs = tuple(first["batch_shape"][1:]), last["units"]
        if (shape, outputs) != (labels.image.shape, len(labels.taxonomy)):
            raise RunError(
                f"{run}: model.keras reads {shape} and has {outputs} outputs, which is not what "
                f"its labels.json says ({labels.image.shape}, {len(labels.taxonomy)})"
            )


@lru_cache(maxsize=1)  # at module level: it survives from one Spark task to the next
def _load(predictor: Predictor, threads: int) -> Predict:
    import_tensorflow()
    from skinclf.training.strategy import limit_threads

    limit_threads(threads)
    forward = as_graph(predictor.read_network(), predictor.image.shape)

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return mean_of_views(lambda view: forward(view).numpy(), pixels, predictor)

    return predict


def mean_of_views(
    forward: Predict, pixels: NDArray[np.uint8], model: Predictor
) -> NDArray[np.float32]:
    """The mean of a network's predictions for the views of images: an array of its own. Raises
    UsageError for what are no images that `model` reads, and RunError where predictions are no
    numbers.
    """
    check_batch(pixels, model.image)
    if not len(pixels):
        return np.empty((0, len(model.taxonomy)), np.float32)
    views = views_of(pixels, model.tta)
    total = forward(views[0]).copy()  # an engine may use its memory again
    for view in views[1:]:
        total += forward(view)
    mean: NDArray[np.float32] = total / np.float32(len(views))
    check_numbers(mean, model.run)
    return mean


def check_numbers(probabilities: NDArray[np.float32], run: str) -> None:
    """Raise RunError where one is not finite: the first class would seem the most probable."""
    lost = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if lost:
        raise RunError(
            f"{run}: the network gives no numbers (NaN) for {lost} of {len(probabilities)} images: "
            f"its weights are damaged or too large. Train it again"
        )


def as_graph(model: "keras.Model", shape: Sequence[int]) -> Any:
    """The model as one graph that infers: (n, *shape) uint8 → its outputs."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.uint8)], autograph=False)
    def forward(pixels: tf.Tensor) -> tf.Tensor:
        return model(pixels, training=False)

    return forward


def read_keras_model(content: bytes, run: str = "") -> "keras.Model":
    """The model of a .keras file. Raises RunError, which names `run`, where Keras refuses it."""
    import_tensorflow()
    import keras

    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.keras"
        file.write_bytes(content)
        try:  # in safe mode, a model file that carries code is refused, not run
            return keras.models.load_model(file, compile=False, safe_mode=True)
        except (ValueError, TypeError, OSError) as error:
            raise RunError(f"{run}: model.keras is not loaded: {error}") from None
