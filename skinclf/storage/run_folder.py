"""A training run on storage: names, and how each file is written and read.

runs/<name>/
  config.toml           resolved, so that a run can be repeated
  dataset.json          the dataset that it was trained on
  attempt.json          which attempt to train may write here
  workers/              what each worker of that attempt reports
  teachers/N/           the models that it learns from, each as in a run's folder; in a fold of
                        a cross-validation, complete runs
  history.jsonl         one line an epoch
  checkpoints/          epoch-0007-ATTEMPT.npz: the last few and the best;
                        epoch-0007-step-000120-ATTEMPT.npz
  restarts.jsonl        one line for each time that training started again, with its cause
  tensorboard/          the same history for TensorBoard
  mlflow.json           which run of MLflow this is, where it is tracked
  figures/              accuracy and loss by epoch
  labels.json           class order and preprocessing, for code that loads the model
  decision.json         how one class is decided on, where evaluate was asked to choose
  graph.zip             the same network for other engines: see training.frozen_graph
  model.keras           written last; its SHA-256 is the model's name in scores
  model_card.md         what the model is, how good, and what it is not for
  evaluation/SET/       of a split or another set: metrics.json, report.html, predictions,
                        rejects (of another set), near-duplicates, neighbors, figures
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from skinclf.config.loader import parse_config, to_toml
from skinclf.config.schema import Config
from skinclf.errors import RunError
from skinclf.spec.decision import Decision
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.checkpoint_folder import checkpoint_names
from skinclf.storage.cross_validation_folder import CROSS_VALIDATION
from skinclf.storage.dataset_folder import MANIFEST, RUN_CONFIG, TENSORS, Dataset
from skinclf.storage.evaluation_folder import EvaluationFolder
from skinclf.storage.files import (
    delete,
    exists,
    join,
    list_names,
    name_of,
    read_bytes,
    read_json,
    read_text,
    read_whole,
    write_bytes,
    write_json,
    write_text,
)
from skinclf.storage.history import Epoch
from skinclf.storage.output_folder import UNFINISHED
from skinclf.system.retrying import may_pass
from skinclf.system.text import in_one_line

MODEL, LABELS, GRAPH = "model.keras", "labels.json", "graph.zip"
DECISION = "decision.json"
TEACHERS = "teachers"

OWN = "--run NAME"
"""How most commands name another run."""

AUTO = "auto"
"""The value of a setting that a run chooses for itself, when it begins."""


class Labels(NamedTuple):
    """What labels.json says: what a model reads, and what its outputs mean."""

    taxonomy: Taxonomy
    image: ImageSpec


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training run, on any storage."""

    path: str

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """The last part of its path; of a teacher, from the run that learns from it on."""
        learner, teachers, number = self.path.rpartition(f"/{TEACHERS}/")
        return name_of(learner) + teachers + number if number.isdecimal() else name_of(self.path)

    @property
    def history(self) -> str:
        """One line of JSON an epoch."""
        return join(self.path, "history.jsonl")

    @property
    def labels(self) -> str:
        """The classes and the input of the model."""
        return join(self.path, LABELS)

    @property
    def model(self) -> str:
        """The model; there once the run is finished."""
        return join(self.path, MODEL)

    @property
    def graph(self) -> str:
        """The model's network as a frozen graph."""
        return join(self.path, GRAPH)

    @property
    def decision(self) -> str:
        """How one class is decided on; may be missing."""
        return join(self.path, DECISION)

    @property
    def card(self) -> str:
        """The model card."""
        return join(self.path, "model_card.md")

    @property
    def config(self) -> str:
        """The settings that the run was begun with."""
        return join(self.path, RUN_CONFIG)

    @property
    def tracking(self) -> str:
        """Which run of MLflow this is."""
        return join(self.path, "mlflow.json")

    @property
    def is_finished(self) -> bool:
        """Whether there is a model."""
        return exists(self.model)

    def figure(self, name: str) -> str:
        """A figure of the training, such as "loss"."""
        return join(self.path, "figures", f"{name}.png")

    def evaluation(self, name: str) -> EvaluationFolder:
        """The folder of an evaluation on a split or another set."""
        return EvaluationFolder(join(self.path, "evaluation", name))

    def evaluations(self) -> list[EvaluationFolder]:
        """Those that are finished, by name."""
        names = list_names(join(self.path, "evaluation"))
        folders = [self.evaluation(name) for name in names]
        return [folder for folder in folders if exists(folder.metrics)]

    def begin(self, config: Config, dataset: Dataset) -> bool:
        """Make the folder of a new run, or resume an unfinished one: is the run finished?

        Raises what `check` does.
        """
        self.check(config, dataset)
        if not exists(self.config):
            write_text(join(self.path, MANIFEST), dataset.to_json())
            self.write_history([])
            write_text(self.config, to_toml(config))
        return self.is_finished

    def check(self, config: Config, dataset: Dataset, option: str = OWN) -> None:
        """Raise RunError, naming what differs, where the folder's run has other hyperparameters or
        another dataset than asked for: half of one training and half of another is neither. So it
        does where there is a model, or a part of a training, of which it is not known.

        `option` is how the command that asks names another folder.
        """
        if not exists(self.config):
            self._check_nobody_else_s(option)
            trained = self.is_finished or self.read_history() or checkpoint_names(self.path)
            if trained:
                kind = "a model" if self.is_finished else "epochs of a training"
                raise RunError(
                    f"{self}: has {kind} and no {RUN_CONFIG}, so how it was trained is not known. "
                    f"Choose another folder: {option}"
                )
            return
        theirs = self.read_config().hyperparameters
        differing = [
            f"{key} = {ours!r} but {theirs[key]!r} in the run"
            for key, ours in config.hyperparameters.items()
            if ours not in (theirs[key], AUTO)
        ]
        if not self.read_dataset().same_as(dataset):
            differing.append(f"dataset.path = {dataset.path!r} is not what it was trained on")
        if differing:
            unused = option == OWN and not self.read_history()
            delete_it = ", or delete this one if no job is starting there: it has no epoch yet"
            raise RunError(
                f"{self}: holds a run of another config: {'; '.join(differing)}. "
                f"Choose another folder: {option}{delete_it if unused else ''}"
            )

    def _check_nobody_else_s(self, option: str) -> None:
        """Raise RunError where the folder is another job's: its manifest would be replaced."""
        marks = {TENSORS: "a dataset", UNFINISHED: "an unfinished dataset"}
        marks |= {CROSS_VALIDATION: "a cross-validation"}
        found = [what for mark, what in marks.items() if exists(join(self.path, mark))]
        if found:
            raise RunError(f"{self}: holds {found[0]}, and no run. Choose another folder: {option}")

    def teacher(self, number: int) -> "RunFolder":
        """The run's own copy of a model that it learns from; there once it is finished."""
        return RunFolder(join(self.path, TEACHERS, str(number)))

    def keep_teachers(self, runs: Sequence[str]) -> None:
        """Copy the models of `runs` once: this run resumes with them, whatever becomes of those."""
        for number, run in enumerate(runs):
            own = self.teacher(number)
            if not own.is_finished:
                for name in (RUN_CONFIG, MANIFEST, LABELS, MODEL):  # the model finishes it
                    write_bytes(join(own.path, name), read_bytes(join(run, name)))

    def read_config(self) -> Config:
        """The settings that the run was begun with. Raises RunError where they are gone."""
        try:
            return parse_config(read_text(self.config), self.config)
        except FileNotFoundError:
            raise RunError(
                f"{self}: has no {RUN_CONFIG}, so how it was trained is not known"
            ) from None

    def read_dataset(self) -> Dataset:
        """The dataset that it was trained on. Raises RunError where that is gone."""
        if not exists(join(self.path, MANIFEST)):
            raise RunError(
                f"{self}: has no {MANIFEST}, so what it was trained on is not known. A run folder "
                f"that `skinclf train` wrote has it; a model alone can only score"
            )
        return Dataset.of_run(self.path)

    def add_restart(self, cause: str, checkpoint: str) -> None:
        """Note in restarts.jsonl that training starts again from `checkpoint`, and why."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        row = json.dumps({"time": time, "checkpoint": checkpoint, "cause": cause})
        file = join(self.path, "restarts.jsonl")
        write_text(file, (read_text(file) if exists(file) else "") + row + "\n")

    def write_history(self, epochs: list[Epoch]) -> None:
        """Replace history.jsonl: short, and whole at each moment on every storage."""
        write_text(self.history, "".join(json.dumps(epoch) + "\n" for epoch in epochs))

    def read_history(self) -> list[Epoch]:
        """The finished epochs; none where training has not begun. Raises RunError where the file is
        damaged.
        """
        try:
            return read_whole(self.history, _json_lines)
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise RunError(f"{self.history}: is damaged: {in_one_line(error)}") from None

    def write_tensorboard(self, epoch: int, files: dict[str, bytes]) -> None:
        """Write an epoch's event files; TensorBoard reads a folder's in the order of names."""
        for curve, content in files.items():
            name = f"events.out.tfevents.{epoch:010}.skinclf"
            write_bytes(join(self.path, "tensorboard", curve, name), content)

    def write_model(self, model: bytes, labels: Labels, parameters: int) -> None:
        """Write labels.json and model.keras (the file's bytes), which finishes the run.

        `parameters`: how many weights the model has.
        """
        taxonomy, image = labels
        described: dict[str, Any] = {
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
            "parameters": parameters,
            "taxonomy": taxonomy.model_dump(),
            "image": image.model_dump(),
        }
        write_json(self.labels, described)
        write_bytes(self.model, model)

    def write_graph(self, graph: bytes) -> None:
        """Write graph.zip (the file's bytes)."""
        write_bytes(self.graph, graph)

    def read_labels(self) -> Labels:
        """The classes and the input of the model. Raises RunError where there are none, or not
        those of the run's dataset.
        """
        try:
            stored = read_json(self.labels)
            # Before there was a choice, every model was of HAM10000's classes at 75x100.
            labels = Labels(
                Taxonomy.model_validate(stored.get("taxonomy", {})),
                ImageSpec.model_validate(stored.get("image", {})),
            )
            classes = tuple(stored["classes"])
        except OSError as error:
            raise self._unfinished(error) from None
        except KeyError as error:
            raise RunError(f"{self.labels}: is damaged: {error} is missing") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise RunError(f"{self.labels}: is damaged: {in_one_line(error)}") from None
        if classes != labels.taxonomy.codes:
            raise RunError(f"{self}: the classes are {classes}; expected {labels.taxonomy.codes}")
        if exists(join(self.path, MANIFEST)):
            dataset = self.read_dataset()
            if labels != (dataset.taxonomy, dataset.image):
                raise RunError(f"{self}: {LABELS} and {MANIFEST} name other classes or images")
        return labels

    def write_decision(self, decision: Decision | None) -> None:
        """Write decision.json; None: the most probable class is predicted, and no file is there."""
        if decision:
            write_text(self.decision, decision.model_dump_json(indent=1) + "\n")
        else:
            delete(self.decision)

    def read_decision(self, model: str) -> Decision | None:
        """What decision.json says; None where there is none.

        Raises RunError where it is damaged, or of another model than `model` (SHA-256), or of
        other classes.
        """
        try:
            decision = Decision.model_validate_json(read_text(self.decision))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise RunError(
                f"{self.decision}: is damaged: {in_one_line(error)}. Choose anew: skinclf evaluate "
                f"--set decision.rule=RULE"
            ) from None
        if decision.model != model or {*decision.weights} != {*self.read_labels().taxonomy.codes}:
            raise RunError(
                f"{self.decision}: is of another model than {MODEL}. Choose anew: skinclf evaluate "
                f"--set decision.rule=RULE"
            )
        return decision

    def count_parameters(self) -> int | None:
        """How many weights the model has; None where an earlier version wrote it."""
        count: int | None = read_json(self.labels).get("parameters")
        return count

    def read_model(self, digest: str = "") -> bytes:
        """The bytes of model.keras. Raises RunError where there is none, or where another one than
        that of `digest` (SHA-256) has taken its place.
        """
        try:
            content = read_bytes(self.model)
        except OSError as error:
            raise self._unfinished(error) from None
        if digest and model_digest(content) != digest:
            raise RunError(f"{self}: the model was replaced while the job ran; start it again")
        return content

    def _unfinished(self, error: OSError) -> Exception:
        if may_pass(error):
            return error
        return RunError(
            f"{self}: no finished model here ({error}). run.path names a run with {MODEL} and "
            f"{LABELS}; train one: skinclf train"
        )


def model_digest(model: bytes) -> str:
    """A model's name in scores: the SHA-256 of model.keras, hexadecimal."""
    return hashlib.sha256(model).hexdigest()


def _json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
