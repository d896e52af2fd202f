"""What training needs to go on where it stood, as the bytes of one .npz file."""

import io
import json
from dataclasses import asdict, dataclass

import keras
import numpy as np

from skinclf.errors import RunError
from skinclf.history import Epoch

FORMAT = 2


@dataclass
class Position:
    """How far training is: whole epochs, and `step` steps of the next with what they added up to.

    The order of images is a function of (seed, epoch, shard) and the masks of dropout one of
    (seed, epoch, step, worker): neither has to be stored.
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
    position: Position, model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> bytes:
    """The state of a training as bytes. Reads variables only: no other worker takes part."""
    arrays = {f"model_{n:03}": np.asarray(value) for n, value in enumerate(model.get_weights())}
    for n, variable in enumerate(optimizer.variables):
        arrays[f"optimizer_{n:03}"] = np.asarray(variable.numpy())
    about = json.dumps({"format": FORMAT} | asdict(position))
    buffer = io.BytesIO()
    np.savez(buffer, about=np.array(about), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_checkpoint(content: bytes) -> Checkpoint:
    """The checkpoint in a file's bytes. Raises RunError where they are none."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            if about.pop("format") != FORMAT:
                raise ValueError(f"not of format {FORMAT}")
            names = sorted(arrays.files)
            return Checkpoint(
                Position(**about),
                [arrays[name] for name in names if name.startswith("model_")],
                [arrays[name] for name in names if name.startswith("optimizer_")],
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise RunError(
            f"a checkpoint can't be read ({error}); delete it to go on from another"
        ) from None


def restore(
    checkpoint: Checkpoint, model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> None:
    """Put a checkpoint's state into a model and an optimizer of the same form."""
    model.set_weights(checkpoint.model)
    for variable, value in zip(optimizer.variables, checkpoint.optimizer, strict=True):
        variable.assign(value)
