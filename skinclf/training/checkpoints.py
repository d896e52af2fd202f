"""What training needs to resume, as the bytes of one .npz file. Imports no Keras: the driver, too,
looks whether a checkpoint is whole.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from skinclf.errors import DamagedCheckpoint, RunError
from skinclf.storage.history import Epoch
from skinclf.system.zip_errors import ZIP_ERRORS

if TYPE_CHECKING:
    import keras

DAMAGE = (
    *(OSError, *ZIP_ERRORS),
    *(KeyError, TypeError, AttributeError),  # what is in it
)
"""What a damaged file ends with when it is read."""

FORMAT = 6
"""Raised by each change after which the same settings learn something else, too: what resumes is
then refused, not half of one training and half of another."""


@dataclass
class Position:
    """How far training is: whole epochs, and `step` steps of the next with what they added up to.

    The order of images is a function of (seed, epoch, shard) and the masks of dropout one of
    (seed, epoch, image): neither has to be stored, and both are the same for any number of workers.
    """

    history: list[Epoch]
    step: int
    sums: list[float]  # training.Sums over all workers
    seconds: float  # that these steps took


@dataclass(frozen=True)
class Checkpoint:
    """A position and the state that training had there."""

    position: Position
    model: list[np.ndarray]  # in the order of Model.weights
    optimizer: list[np.ndarray]  # in the order of Optimizer.variables, its step count included


def take_checkpoint(
    position: Position, model: "keras.Model", optimizer: "keras.optimizers.Optimizer"
) -> bytes:
    """The state of a training as bytes. Reads variables only: no other worker takes part."""
    arrays = {f"model_{n:03}": np.asarray(value) for n, value in enumerate(model.get_weights())}
    for n, variable in enumerate(optimizer.variables):
        arrays[f"optimizer_{n:03}"] = np.asarray(variable.numpy())
    about = json.dumps({"format": FORMAT, "arrays": len(arrays)} | asdict(position))
    buffer = io.BytesIO()
    np.savez(buffer, about=np.array(about), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_checkpoint(content: bytes) -> Checkpoint:
    """The checkpoint in a file's bytes.

    Raises DamagedCheckpoint where they are none, and RunError where another version of skinclf
    wrote them.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            _check_format(about.pop("format"))
            model, optimizer = (_numbered(arrays, kind) for kind in ("model_", "optimizer_"))
        count = about.pop("arrays", None)  # one that was written before has none
        if count not in (None, len(model) + len(optimizer)):
            raise ValueError(f"{count} arrays are expected")
        return Checkpoint(Position(**about), model, optimizer)
    except DAMAGE as error:
        raise DamagedCheckpoint(f"is no whole checkpoint ({error})") from None


def _check_format(written: int) -> None:
    if written != FORMAT:
        raise RunError(
            f"a checkpoint of format {written}, which another version of skinclf wrote; expected "
            f"format {FORMAT}. Train anew in another folder (--set run.path=runs/NAME), or finish "
            f"the run with the version that began it"
        )


def _numbered(arrays: Mapping[str, np.ndarray], kind: str) -> list[np.ndarray]:
    """The arrays of a kind, by their numbers, which may have more digits than others."""
    numbers = sorted(int(name.removeprefix(kind)) for name in arrays if name.startswith(kind))
    if numbers != list(range(len(numbers))):
        raise ValueError(f"{kind}… are not counted from 0 on")
    return [arrays[f"{kind}{number:03}"] for number in numbers]


def restore(
    checkpoint: Checkpoint, model: "keras.Model", optimizer: "keras.optimizers.Optimizer"
) -> None:
    """Put a checkpoint's state into a model and an optimizer. Raises RunError where they are of
    another form.
    """
    theirs = [array.shape for array in (*checkpoint.model, *checkpoint.optimizer)]
    ours = [tuple(variable.shape) for variable in (*model.weights, *optimizer.variables)]
    if theirs != ours:
        raise RunError(
            "the checkpoint is of another network or optimizer than these settings now name. "
            "Train anew in another folder (--set run.path=runs/NAME)"
        )
    model.set_weights(checkpoint.model)
    for variable, value in zip(optimizer.variables, checkpoint.optimizer, strict=True):
        variable.assign(value)
