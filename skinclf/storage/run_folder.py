"""A training run on storage: names, and how each file is written and read.

runs/<name>/
  config.toml           resolved, so that a run can be repeated
  dataset.json          the dataset that it was trained on
  attempt.json          which attempt to train may write here
  workers/              what each worker of that attempt reports
  history.jsonl         one line an epoch
  checkpoints/          epoch-0007-ATTEMPT.npz: the last few and the best;
                        epoch-0007-step-000120-ATTEMPT.npz
  restarts.jsonl        one line for each time that training started again, with its cause
  tensorboard/          the same history for TensorBoard
  mlflow.json           which run of MLflow this is, where it is tracked
  figures/              accuracy and loss by epoch
  labels.json           class order and preprocessing, for code that loads the model
  model.keras           written last; its SHA-256 is the model's name in scores
  model_card.md         what the model is, how good, and what it is not for
  evaluation/SET/       of a split or another set: metrics.json, report.html, predictions,
                        rejects (of another set), near-duplicates and figures
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from skinclf.config.loader import parse_config, to_toml
from skinclf.config.schema import Config
from skinclf.errors import RunError
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.dataset_folder import MANIFEST, Dataset
from skinclf.storage.files import (
    exists,
    join,
    read_bytes,
    read_json,
    read_text,
    read_whole,
    write_bytes,
    write_text,
)
from skinclf.storage.history import Epoch

CONFIG, HISTORY = "config.toml", "history.jsonl"
RESTARTS, TENSORBOARD = "restarts.jsonl", "tensorboard"
MODEL, LABELS, CARD = "model.keras", "labels.json", "model_card.md"
FIGURES, EVALUATION = "figures", "evaluation"
METRICS, REPORT, CONFUSION = "metrics.json", "report.html", "confusion.png"  # of each set in it


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
    theirs = read_config(path).learned
    differing = [
        f"{key} = {ours!r} but {theirs[key]!r} in the run"
        for key, ours in config.learned.items()
        if ours != theirs[key]
    ]
    if not Dataset.read(path).same_as(dataset):
        differing.append(f"dataset.path = {dataset.path!r} is not what it was trained on")
    if differing:
        raise RunError(
            f"{path}: holds a run of another config: {'; '.join(differing)}. "
            f"Name another folder: --set run.path=runs/NAME"
        )
    return exists(join(path, MODEL))


def read_config(path: str) -> Config:
    """The settings that a run was begun with."""
    stored = join(path, CONFIG)
    return parse_config(read_text(stored), stored)


def add_restart(path: str, cause: str, checkpoint: str) -> None:
    """Note in restarts.jsonl that training starts again from `checkpoint`, and why."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    row = json.dumps({"time": time, "checkpoint": checkpoint, "cause": cause})
    file = join(path, RESTARTS)
    write_text(file, (read_text(file) if exists(file) else "") + row + "\n")


def write_history(path: str, epochs: list[Epoch]) -> None:
    """Replace history.jsonl: short, and whole at each moment on every storage."""
    write_text(join(path, HISTORY), "".join(json.dumps(epoch) + "\n" for epoch in epochs))


def read_history(path: str) -> list[Epoch]:
    """The finished epochs of a run; none where training has not begun."""
    try:
        return read_whole(join(path, HISTORY), _json_lines)
    except FileNotFoundError:
        return []


def _json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def write_tensorboard(path: str, epoch: int, files: dict[str, bytes]) -> None:
    """Write an epoch's event files; TensorBoard reads a folder's files in the order of names."""
    for curve, content in files.items():
        name = f"events.out.tfevents.{epoch:010}.skinclf"
        write_bytes(join(path, TENSORBOARD, curve, name), content)


def write_model(path: str, model: bytes, taxonomy: Taxonomy, image: ImageSpec) -> None:
    """Write labels.json and model.keras (the file's bytes), which finishes the run."""
    labels: dict[str, Any] = {
        "classes": list(taxonomy.codes),
        "names": {code: taxonomy.name_of(code) for code in taxonomy.codes},
        "input": {
            "shape": list(image.shape),
            "dtype": "uint8 or float",
            "range": [0, 255],
            "channels": "RGB",
            "resize": f"skinclf.spec.image: Pillow {image.filter}, aspect ratio not kept",
        },
        "scaling": "inside the model",
        "taxonomy": taxonomy.model_dump(),
        "image": image.model_dump(),
    }
    write_text(join(path, LABELS), json.dumps(labels, indent=1) + "\n")
    write_bytes(join(path, MODEL), model)


class Labels(NamedTuple):
    """What labels.json says: what a model reads, and what its outputs mean."""

    taxonomy: Taxonomy
    image: ImageSpec


def read_labels(path: str) -> Labels:
    """The classes and the input of a run's model. Raises RunError where the run has none."""
    try:
        stored = read_json(join(path, LABELS))
        # Before there was a choice, every model was of HAM10000's classes at 75x100.
        labels = Labels(
            Taxonomy.model_validate(stored.get("taxonomy", {})),
            ImageSpec.model_validate(stored.get("image", {})),
        )
        classes = tuple(stored["classes"])
    except (OSError, KeyError, ValueError) as error:
        raise _unfinished(path, error) from None
    if classes != labels.taxonomy.codes:
        raise RunError(f"{path}: the classes are {classes}; expected {labels.taxonomy.codes}")
    return labels


def read_model(path: str) -> bytes:
    """The bytes of model.keras. Raises RunError where the run has none."""
    try:
        return read_bytes(join(path, MODEL))
    except OSError as error:
        raise _unfinished(path, error) from None


def _unfinished(path: str, error: Exception) -> RunError:
    return RunError(
        f"{path}: no finished model here ({error}). run.path names a run with {MODEL} and "
        f"{LABELS}; train one: skinclf train"
    )


def model_digest(model: bytes) -> str:
    """A model's name in scores: the SHA-256 of model.keras, hexadecimal."""
    return hashlib.sha256(model).hexdigest()
