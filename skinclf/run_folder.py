"""A training run on storage: names, and how each file is written and read.

runs/<name>/
  config.toml           resolved, so that a run can be repeated
  progress.json         where training stands, about once a second
  history.jsonl         one line an epoch
  figures/              accuracy and loss by epoch
  labels.json           class order and preprocessing, for whoever loads the model
  model.keras           written last; its SHA-256 is the model's name in scores
  evaluation/           predictions, metrics.json, figures, report.html
"""

import hashlib
import json
from typing import Any

from skinclf.errors import RunError
from skinclf.labels import CODES, NAMES
from skinclf.schemas import CHANNELS, HEIGHT, WIDTH
from skinclf.storage import exists, join, read_bytes, read_text, write_bytes, write_text

CONFIG, HISTORY, PROGRESS = "config.toml", "history.jsonl", "progress.json"
MODEL, LABELS = "model.keras", "labels.json"
FIGURES, EVALUATION = "figures", "evaluation"

Epoch = dict[str, float]
"""One line of history.jsonl: `epoch` (from 1), `loss`, `accuracy`, `binary_accuracy`, the same
of the validation split as `val_…` with `val_balanced_accuracy`, `seconds`, `images_per_second`."""


def start_run(path: str, config: str) -> None:
    """Make the folder of a new run with its resolved config (TOML text).

    Raises RunError where a run is there already.
    """
    if exists(join(path, MODEL)):
        raise RunError(
            f"{path}: this run is finished (it has a {MODEL}). Name another: "
            f"--set run.path=runs/NAME, or delete the folder"
        )
    if exists(join(path, CONFIG)):
        raise RunError(
            f"{path}: an unfinished run lies here. Name another: --set run.path=runs/NAME, "
            f"or delete the folder"
        )
    write_text(join(path, CONFIG), config)
    write_history(path, [])


def write_history(path: str, epochs: list[Epoch]) -> None:
    """Replace history.jsonl: short, and whole at each moment on every storage."""
    write_text(join(path, HISTORY), "".join(json.dumps(epoch) + "\n" for epoch in epochs))


def read_history(path: str) -> list[Epoch]:
    """The finished epochs of a run; none where training has not begun."""
    try:
        text = read_text(join(path, HISTORY))
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def write_progress(path: str, progress: dict[str, float]) -> None:
    """Tell where training stands: `epoch`, `epochs`, `step`, `steps`, `loss`."""
    write_text(join(path, PROGRESS), json.dumps(progress))


def read_progress(path: str) -> dict[str, float]:
    """What `write_progress` told last; empty before it told anything."""
    try:
        return dict(json.loads(read_text(join(path, PROGRESS))))
    except FileNotFoundError:
        return {}


def write_model(path: str, model: bytes) -> None:
    """Write labels.json and model.keras (the file's bytes), which finishes the run."""
    labels: dict[str, Any] = {
        "classes": list(CODES),
        "names": NAMES,
        "input": {
            "shape": [HEIGHT, WIDTH, CHANNELS],
            "dtype": "uint8 or float",
            "range": [0, 255],
            "channels": "RGB",
            "resize": "skinclf.image.decode_rgb: Pillow bicubic, aspect ratio not kept",
        },
        "scaling": "inside the model",
    }
    write_text(join(path, LABELS), json.dumps(labels, indent=1) + "\n")
    write_bytes(join(path, MODEL), model)


def read_model(path: str) -> bytes:
    """The bytes of model.keras. Raises RunError where the run has none, or other classes."""
    try:
        model = read_bytes(join(path, MODEL))
        classes = tuple(json.loads(read_text(join(path, LABELS)))["classes"])
    except (OSError, KeyError, ValueError) as error:
        raise RunError(
            f"{path}: no finished model here ({error}). run.path names a run with {MODEL} and "
            f"{LABELS}; train one: skinclf train"
        ) from None
    if classes != CODES:
        raise RunError(f"{path}: the model's classes are {classes}; expected {CODES}")
    return model


def model_digest(model: bytes) -> str:
    """A model's name in scores: the SHA-256 of model.keras, hexadecimal."""
    return hashlib.sha256(model).hexdigest()
