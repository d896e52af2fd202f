"""Evaluated runs → one page that compares them."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skinclf.errors import RunError, UsageError
from skinclf.evaluation.comparison import count_shared, paired_differences, same_images
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import EvaluationResult
from skinclf.reporting.comparison import (
    ComparedRun,
    Comparison,
    shown_settings,
    write_comparison,
)
from skinclf.reporting.pages import check_page
from skinclf.reporting.results import read_cross_validation, read_predictions, read_result
from skinclf.spec.decision import DecisionRule
from skinclf.storage.cross_validation_folder import CrossValidationFolder
from skinclf.storage.files import absolute, exists
from skinclf.storage.run_folder import RunFolder, model_digest
from skinclf.system.uris import distinct_ends

DATASET = "dataset (SHA-256)"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Evaluated:
    """What is on storage of one run."""

    folder: RunFolder  # or that of a cross-validation
    result: EvaluationResult
    predictions: Predictions
    settings: dict[str, str]


def compare(paths: Sequence[str], name: str, rounds: int, output: str) -> Comparison:
    """Compare the runs at `paths`, each with the first, by their evaluations on the set `name`.

    Writes the page to `output`; `rounds` are the bootstrap's. Needs no Spark and no TensorFlow.
    Raises UsageError children for fewer than two runs, a folder that is no run or was not
    evaluated on the set, and for runs of other classes than the first.
    """
    check_page(output)
    if not name:
        raise UsageError("--on: is empty; expected is the name of a set, such as test or val")
    if name == "train":
        raise UsageError("--on train: no model is evaluated on the images that it was trained on")
    runs = [_read(RunFolder(path), name) for path in _checked([absolute(path) for path in paths])]
    first = runs[0]
    for run in runs[1:]:
        _check_classes(first, run)
    names = names_of([run.folder for run in runs])
    compared = [
        _compared(called, run, first, rounds) for called, run in zip(names, runs, strict=True)
    ]
    comparison = Comparison(first.result.set, compared)
    write_comparison(comparison, output)
    log.info("compared %s runs on %s", len(runs), comparison.set)
    return comparison


def names_of(folders: Sequence[RunFolder]) -> list[str]:
    """The last parts of each path: as few as tell all of these different paths apart."""
    paths = [folder.path.rstrip("/") for folder in folders]
    count = max(distinct_ends(paths).values())
    return ["/".join(path.split("/")[-count:]) for path in paths]


def _checked(paths: Sequence[str]) -> Sequence[str]:
    """Raises UsageError unless these are two runs or more, each named once."""
    if len(paths) < 2:
        raise UsageError("compare: two runs or more are expected: skinclf compare RUN RUN")
    twice = [
        path for path, count in Counter(path.rstrip("/") for path in paths).items() if count > 1
    ]
    if twice:
        raise UsageError(f"{twice[0]}: is named twice; name each run once")
    return paths


def _read(folder: RunFolder, name: str) -> _Evaluated:
    """Raises RunError where there is no finished run, or no evaluation of its model on the set.

    A cross-validation has one set only, that of all its test images, whatever `name` is.
    """
    folds = CrossValidationFolder(folder.path)
    if folds.is_finished:
        return _read_folds(folder, folds)
    taxonomy = folder.read_labels().taxonomy
    model = model_digest(folder.read_model())
    evaluation = folder.evaluation(name)
    if not exists(evaluation.metrics):
        known = [each.name for each in folder.evaluations()]
        others = f", or name a set that it has: --on {known[0]}" if known else ""
        raise RunError(
            f"{folder}: was not evaluated on {name}. Evaluate it: {_evaluation(folder, name)}"
            f"{others}"
        )
    result = read_result(evaluation.metrics)
    if result.digest != model:
        raise RunError(
            f"{folder}: was evaluated on {name} with an earlier model. Evaluate it anew: "
            f"{_evaluation(folder, name)}"
        )
    predictions = read_predictions(evaluation.predictions, taxonomy)
    return _Evaluated(folder, result, predictions, _settings(folder, result))


def _evaluation(folder: RunFolder, name: str) -> str:
    """The command that evaluates a run on a set, without the paths that are not known here."""
    options = {"test": "", "val": " --set evaluate.split=val"}
    outside = f" --archive ARCHIVE --metadata METADATA --set evaluate.name={name}"
    return f"skinclf evaluate --run {folder} --dataset DATASET{options.get(name, outside)}"


def _read_folds(folder: RunFolder, folds: CrossValidationFolder) -> _Evaluated:
    """A cross-validation, with the settings that all its runs have in common."""
    found = read_cross_validation(folds.metrics)
    result = found.pooled
    predictions = read_predictions(folds.predictions, result.taxonomy)
    settings = _settings(RunFolder(folds.run(found.folds[0].name)), result)
    # These differ from fold to fold, and a dataset from each time that it is prepared.
    own = {"split.folds", "split.fold", "split.left_out", DATASET}
    common = {key: value for key, value in settings.items() if key not in own}
    common |= {"cross_validate.by": found.by, "folds": str(len(found.folds))}
    return _Evaluated(folder, result, predictions, common)


def _check_classes(first: _Evaluated, other: _Evaluated) -> None:
    ours, theirs = first.result.taxonomy.codes, other.result.taxonomy.codes
    if ours != theirs:
        raise RunError(
            f"{other.folder}: its classes are {', '.join(theirs)}, those of {first.folder} are "
            f"{', '.join(ours)}. Compare runs of the same classes in the same order"
        )


def _compared(name: str, run: _Evaluated, first: _Evaluated, rounds: int) -> ComparedRun:
    paired = run is not first and same_images(first.predictions, run.predictions)
    return ComparedRun(
        name,
        run.folder.path,
        run.settings,
        run.result,
        count_shared(first.predictions, run.predictions),
        paired_differences(first.predictions, run.predictions, rounds) if paired else None,
    )


def _settings(run: RunFolder, result: EvaluationResult) -> dict[str, str]:
    """What decides how good the run is: hyperparameters, the dataset, and how it was evaluated."""
    dataset = run.read_dataset()
    split = {f"split.{key}": value for key, value in dataset.split.model_dump().items()}
    image = {f"image.{key}": value for key, value in dataset.image.model_dump().items()}
    return shown_settings(
        run.read_config().hyperparameters
        | split
        | image
        | {DATASET: dataset.digest[:12], "evaluate.tta": result.tta}
        | _decided(result.decided_by)
    )


def _decided(asked: DecisionRule) -> dict[str, Any]:
    """A rule as settings, without what it does not use."""
    found: dict[str, Any] = {"decision.rule": asked.rule}
    found |= {f"decision.costs.{code}": cost for code, cost in asked.costs.items()}
    if asked.rule == "sensitivity":
        found["decision.sensitivity"] = asked.sensitivity
    return found
