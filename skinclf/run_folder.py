"""A training run on storage: names, and how each file is written and read.

runs/<name>/
  config.toml           resolved, so that a run can be repeated
  dataset.json          the dataset that it was trained on
  progress.json         where training stands, about once a second
  history.jsonl         one line an epoch
  checkpoints/          epoch-0007.npz: the last few and the best
  restarts.jsonl        one line for each time that training started again, with its cause
  figures/              accuracy and loss by epoch
  labels.json           class order and preprocessing, for whoever loads the model
  model.keras           written last; its SHA-256 is the model's name in scores
  evaluation/           predictions-, metrics-, confusion- and report-SPLIT
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from skinclf.config import Config, TrainConfig, parse_config, to_toml
from skinclf.dataset_folder import MANIFEST, Dataset
from skinclf.errors import RunError
from skinclf.labels import CODES, NAMES
from skinclf.schemas import CHANNELS, HEIGHT, WIDTH
from skinclf.storage import (
    absolute,
    delete,
    exists,
    join,
    list_names,
    read_bytes,
    read_text,
    write_bytes,
    write_text,
)

CONFIG, HISTORY, PROGRESS = "config.toml", "history.jsonl", "progress.json"
CHECKPOINTS, RESTARTS = "checkpoints", "restarts.jsonl"
MODEL, LABELS = "model.keras", "labels.json"
FIGURES, EVALUATION = "figures", "evaluation"

Epoch = dict[str, float]
"""One line of history.jsonl: `epoch` (from 1), `loss`, `accuracy`, `binary_accuracy`, the same
of the validation split as `val_…` with `val_balanced_accuracy`, `seconds`, `images_per_second`."""


def open_run(path: str, config: Config, dataset: Dataset) -> bool:
    """Make the folder of a new run, or go on with an unfinished one: is the run finished?

    Raises RunError, naming what differs, where the folder's run has other [train] settings or
    another dataset than asked for: half of one training and half of another is neither.
    """
    stored = join(path, CONFIG)
    if not exists(stored):
        write_text(join(path, MANIFEST), dataset.to_json())
        write_history(path, [])
        write_text(stored, to_toml(config))
        return False
    theirs = parse_config(read_text(stored), stored).train.model_dump()
    differing = [
        f"train.{key} = {ours!r} but {theirs[key]!r} in the run"
        for key, ours in config.train.model_dump().items()
        if ours != theirs[key]
    ]
    if Dataset.read(path) != dataset.model_copy(update={"path": absolute(path)}):
        differing.append(f"dataset.path = {dataset.path!r} is not what it was trained on")
    if differing:
        raise RunError(
            f"{path}: holds a run of another config: {'; '.join(differing)}. "
            f"Name another folder: --set run.path=runs/NAME"
        )
    return exists(join(path, MODEL))


def write_checkpoint(
    path: str, checkpoint: bytes, history: list[Epoch], config: TrainConfig
) -> None:
    """Add the checkpoint of the last epoch; remove all but the last few and the best."""
    write_bytes(checkpoint_path(path, len(history)), checkpoint)
    kept = {int(row["epoch"]) for row in history[-config.keep_checkpoints :]}
    kept.add(best_epoch(history, config.best_metric))
    for epoch in checkpoint_epochs(path):
        if epoch not in kept:
            delete(checkpoint_path(path, epoch))


def checkpoint_path(path: str, epoch: int) -> str:
    """The file that holds the state after an epoch."""
    return join(path, CHECKPOINTS, f"epoch-{epoch:04}.npz")


def checkpoint_epochs(path: str) -> list[int]:
    """The epochs after which there is a checkpoint, ascending."""
    names = list_names(join(path, CHECKPOINTS))
    found = (re.fullmatch(r"epoch-(\d+)\.npz", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def best_epoch(history: list[Epoch], metric: str) -> int:
    """The epoch with the lowest loss, or the highest of any other metric; the first of equals."""
    sign = 1 if metric.endswith("loss") else -1
    return int(min(history, key=lambda row: sign * row.get(metric, 0.0))["epoch"])


def add_restart(path: str, cause: str, epoch: int) -> None:
    """Note in restarts.jsonl that training starts again after `epoch`, and why."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    row = json.dumps({"time": time, "after_epoch": epoch, "cause": cause})
    file = join(path, RESTARTS)
    write_text(file, (read_text(file) if exists(file) else "") + row + "\n")


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
