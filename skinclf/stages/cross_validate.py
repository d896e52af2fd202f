"""Archive + metadata → a model for each fold, and one result of all their test images.

Each image is predicted once, by a model that was not trained on its lesion.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from skinclf.archives import check_apart
from skinclf.archives.sources import NO_SOURCE, Source, counted, read_sources
from skinclf.config.schema import RUNTIME_SETTINGS, Config
from skinclf.errors import CheckError, ConfigError, DatasetError, UsageError
from skinclf.evaluation.cross_validation import (
    CrossValidation,
    FoldResult,
    Pooled,
    pooled_result,
)
from skinclf.evaluation.gates import check_gate_settings
from skinclf.evaluation.predictions import SOURCE, predictions_of
from skinclf.evaluation.result import EvaluationResult
from skinclf.evaluation.sources import part_metrics
from skinclf.reporting.cross_validation import write_pages
from skinclf.reporting.results import (
    read_cross_validation,
    read_prediction_table,
    write_cross_validation,
)
from skinclf.stages import prepare as preparing
from skinclf.stages.deciding import check_classes, check_decision
from skinclf.stages.evaluate import evaluate
from skinclf.stages.preview import Preview, session_text
from skinclf.stages.resuming import known_result, prepared
from skinclf.stages.train import train
from skinclf.storage.cross_validation_folder import CrossValidationFolder, source_folder
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import absolute, delete, exists, join, write_table
from skinclf.storage.history import check_best_is_known
from skinclf.storage.run_folder import TEACHERS, RunFolder
from skinclf.system.text import printable
from skinclf.training.batches import check_divides
from skinclf.training.choices import check_choices
from skinclf.training.networks import check_size

TESTED = "test"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fold:
    """What is left out once, and the settings of the stages for it."""

    name: str  # of its folders
    title: str
    config: Config
    source: str | None = None  # None: a fold of all sources
    teachers: Sequence[Config] = ()  # by which the model's teachers are trained first

    @property
    def run(self) -> RunFolder:
        """Where its model is trained."""
        return RunFolder(self.config.run.path)

    @property
    def result(self) -> EvaluationResult | None:
        """The evaluation of its test images, where that is done."""
        return known_result(self.config, TESTED)

    def check_run(self, dataset: Dataset) -> None:
        """Raise RunError where a run that is begun is of another recipe or dataset."""
        for config in (*self.teachers, self.config):
            RunFolder(config.run.path).check(config, dataset, "--output")

    def trainings(self) -> dict[str, Config]:
        """The trainings of its model, title → settings: teachers come before what learns from
        them, and are not needed any more where that is finished.
        """
        teachers = () if self.run.is_finished else self.teachers
        named = {f"train teacher {n}": teacher for n, teacher in enumerate(teachers, 1)}
        return named | {"train": self.config}

    def todo(self) -> str:
        """What an earlier start has left to do, in words; "" if nothing."""
        steps = {"prepare": preparing.finished_dataset(self.config) is None}
        for title, config in self.trainings().items():
            run = RunFolder(config.run.path)
            done = len(run.read_history())
            resumed = f" from epoch {done + 1} of {config.train.epochs} on" if done else ""
            steps[title + resumed] = not run.is_finished
        steps["evaluate"] = self.result is None
        return ", ".join(step for step, is_left in steps.items() if is_left)


@dataclass(frozen=True)
class _Plan:
    """What is to be done, as the settings and the metadata say."""

    folds: Sequence[Fold]
    only_trained_on: dict[str, int]  # source → lesions
    folder: CrossValidationFolder


def cross_validate(config: Config, console: Console) -> tuple[CrossValidation, str]:
    """Prepare, train and evaluate for each fold of `config.cross_validate` → (what
    cross-validation.json holds, the page's path).

    What an earlier start has finished is taken over. Whether `evaluate.gates` are reached is asked
    by `check_gates` of the pooled result. Raises UsageError children before Spark starts for
    settings, paths and sources that are wrong, what the stages raise, and CheckError where images
    are predicted twice or not at all.
    """
    plan = _checked(config)
    for source, lesions in plan.only_trained_on.items():
        log.info("%s: only trained on (%s lesions)", _named(source), f"{lesions:,}")
    datasets, results = [], []
    for place, fold in enumerate(plan.folds, 1):
        log.info("%s (%s of %s)", fold.title, place, len(plan.folds))
        dataset = prepared(fold.config, console)
        fold.check_run(dataset)
        if not dataset.count(TESTED):
            cause = (
                f"the archive has too few lesions for {len(plan.folds)} folds. Choose fewer "
                f"(--folds), and another folder (--output)"
                if fold.source is None
                else f"none could be read. Its rejects are in {dataset.path}"
            )
            raise ConfigError(f"{fold.title}: has no image to test: {cause}")
        check_classes(config.decision, dataset)
        datasets.append(dataset)
        results.append(fold.result or _measured(fold, console))
    found = _pooled(plan, datasets, results, config)
    write_pages(found, plan.folder)
    write_cross_validation(plan.folder.metrics, found)
    images = found.pooled.images
    log.info(
        "tested %s images in %s folds; page: %s",
        f"{images:,}",
        len(found.folds),
        plan.folder.page,
        extra={"counts": {"images": images, "folds": len(found.folds)}},
    )
    return found, plan.folder.page


def _measured(fold: Fold, console: Console) -> EvaluationResult:
    for title, config in fold.trainings().items():
        if fold.teachers:
            log.info("%s: %s", fold.title, title)
        train(config, console)
    return fold.result or evaluate(fold.config, console)[0]


def preview(config: Config) -> Preview:
    """What `cross_validate` would do. Raises what it raises before Spark starts."""
    plan = _checked(config)
    todo = [(fold.title, fold.todo()) for fold in plan.folds]
    starts = [session_text(config.spark)] if any(what for _, what in todo) else []
    starts += [f"{title}: {what or 'nothing, it is finished'}" for title, what in todo]
    small = [
        f"{_named(source)}: nothing, its {lesions:,} lesions are only trained on"
        for source, lesions in plan.only_trained_on.items()
    ]
    reads = [*config.archive.paths, *config.archive.metadata_files]
    return Preview(reads, [plan.folder.path], [*starts, *small])


def _checked(config: Config) -> _Plan:
    """The folds and their folder. Raises UsageError children for what can't be done as asked."""
    check_gate_settings(config.evaluate.gates, config.classes)
    check_decision(config.decision, config.classes, config.split.val)
    teachers = _teachers(config)
    for each in (config, *teachers):
        check_choices(each)
        check_divides(each.dataset.shards, each.train.slots, each.train.global_batch_size)
        check_best_is_known(each.train, int(each.split.val > 0))
        check_size(each.model, each.image)
    if config.split.folds or config.split.left_out:
        raise ConfigError(
            "split.folds and split.left_out are set by cross-validate itself: leave them out, and "
            "say cross_validate.folds (--folds) or cross_validate.by (--by)"
        )
    if config.split.by == "image" and not config.evaluate.allow_leaks:
        raise ConfigError(
            'split.by = "image": models would be tested on lesions that they were trained on. '
            "Split by lesion, or ask for metrics that are too good: --set "
            "evaluate.allow_leaks=true"
        )
    preparing.check_archive(config)
    check_apart(config.archive.paths, config.cross_validate.output, "cross_validate.output")
    folder = CrossValidationFolder(absolute(config.cross_validate.output))
    plan = _plan(config, teachers, folder)
    if exists(folder.card) and not exists(folder.page):
        raise UsageError(
            f"{folder.path}: holds a README.md, which no cross-validation wrote there. Choose "
            f"another folder: --output NAME"
        )
    if folder.is_finished:
        there = {fold.name for fold in read_cross_validation(folder.metrics).folds}
        if there != {fold.name for fold in plan.folds}:
            raise UsageError(
                f"{folder.path}: holds a cross-validation of {', '.join(sorted(there))}. Choose "
                f"another folder: --output NAME"
            )
    for fold in plan.folds:
        dataset = preparing.finished_dataset(fold.config)
        if dataset is None:
            preparing.check_output(fold.config)
        else:
            fold.check_run(dataset)
    return plan


def _teachers(config: Config) -> list[Config]:
    """The settings with the recipe of each run of train.teachers. A run's model itself can't teach
    here: it was trained on images that other folds test.

    Raises ConfigError where there is no such run, or where its recipe does not fit.
    """
    teachers = []
    for path in config.train.teachers:
        run = RunFolder(absolute(path))
        if not exists(run.config):
            raise ConfigError(
                f"train.teachers: {run} is no run. Its recipe is needed: each fold trains its own "
                f"teacher by it"
            )
        try:
            recipe, dataset = run.read_config(), run.read_dataset()
        except (FileNotFoundError, DatasetError) as error:
            raise ConfigError(f"train.teachers: {run} is not whole: {error}") from None
        if (dataset.taxonomy, dataset.image) != (config.classes, config.image):
            raise ConfigError(
                f"train.teachers: {run} was trained on other classes or another size of images "
                f"than [classes] and [image] say"
            )
        if recipe.train.teachers:
            raise ConfigError(
                f"train.teachers: {run} has teachers itself, which can't be cross-validated"
            )
        where = config.train.model_dump(include=RUNTIME_SETTINGS)
        recipes = {"model": recipe.model, "train": recipe.train.model_copy(update=where)}
        teachers.append(config.model_copy(update=recipes))
    return teachers


def _plan(config: Config, teachers: Sequence[Config], folder: CrossValidationFolder) -> _Plan:
    settings = config.cross_validate
    fold_of = partial(_fold, config, teachers, folder)
    sources = read_sources(config.archive.metadata, config.classes, config.metadata)
    if settings.by == "fold":
        lesions = sum(source.lesions for source in sources.values())
        if sources and lesions < 2 * settings.folds:
            raise ConfigError(
                f"cross_validate.folds: {lesions:,} lesions are too few for {settings.folds:,} "
                f"folds; two a fold are the least, and some hundred are needed to say anything"
            )
        folds = [
            fold_of(f"fold-{n}", f"fold {n}", folds=settings.folds, fold=n)
            for n in range(1, settings.folds + 1)
        ]
        return _Plan(folds, {}, folder)
    tested = _large(sources, settings.min_lesions, config.archive.metadata)
    folds = [fold_of(source_folder(source), _named(source), left_out=source) for source in tested]
    rest = {name: found.lesions for name, found in sources.items() if name not in tested}
    return _Plan(folds, rest, folder)


def _named(source: str) -> str:
    """A source in a line of text."""
    return printable(source) or "no source"


def _large(sources: dict[str, Source], least: int, metadata: str) -> list[str]:
    """The sources with enough lesions. Raises ConfigError where there are fewer than two."""
    named = {name: found for name, found in sources.items() if name != NO_SOURCE}
    large = [name for name, found in named.items() if found.lesions >= least]
    if len(named) > 1 and large:
        return large
    there = counted({name: found.images for name, found in named.items()}) or "none"
    raise ConfigError(
        f"cross_validate.by: two sources or more are expected, one of them with {least:,} lesions "
        f"or more (cross_validate.min_lesions); {metadata} has {there}. Sources are the column "
        f"dataset; [metadata.columns] may say that another is it"
    )


def _fold(
    config: Config,
    teachers: Sequence[Config],
    folder: CrossValidationFolder,
    name: str,
    title: str,
    **split: Any,
) -> Fold:
    """The settings with this split, and with folders of its own. The teachers are trained where
    the run keeps those that it learns from, and named as they lie there: the folder may move.
    """
    run = RunFolder(folder.run(name))
    numbers = range(len(teachers))
    changes: dict[str, dict[str, Any]] = {
        "split": split,
        "dataset": {"path": folder.dataset(name), "overwrite": False},
        "evaluate": {"split": TESTED, "archive": (), "metadata": "", "name": ""},
    }

    def placed(settings: Config, path: str, teachers: Sequence[str] = ()) -> Config:
        own = changes | {"run": {"path": path}, "train": {"teachers": tuple(teachers)}}
        sections = {
            section: getattr(settings, section).model_copy(update=change)
            for section, change in own.items()
        }
        return settings.model_copy(update=sections)

    return Fold(
        name,
        title,
        placed(config, run.path, [f"{TEACHERS}/{number}" for number in numbers]),
        split.get("left_out"),
        [placed(teachers[number], run.teacher(number).path) for number in numbers],
    )


def _pooled(
    plan: _Plan, datasets: Sequence[Dataset], results: Sequence[EvaluationResult], config: Config
) -> CrossValidation:
    """Read what each model has predicted, write it as one table, and measure it."""
    tables = [_tested(fold) for fold in plan.folds]
    places = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    table = pa.concat_tables(tables)
    _check_each_once(table, datasets, plan)
    order = pc.sort_indices(table["image_id"])  # as `compare` reads them
    table, places = table.take(order), places[order.to_numpy()]
    delete(plan.folder.metrics)  # of an earlier start, which may have had other models
    delete(plan.folder.predictions)
    write_table(table, join(plan.folder.predictions, "part-00000.parquet"))
    rounds = config.evaluate.bootstrap_samples
    pooled = Pooled(predictions_of(table, config.classes), places, results)
    folds = tuple(
        FoldResult(
            name=fold.name,
            title=fold.title,
            model=result.digest,
            trained_on=dataset.count("train"),
            metrics=part_metrics(pooled.predictions.subset(places == place), rounds),
            validation=result.validation,
            classes=tuple(code for code, images in dataset.counts.get("val", {}).items() if images),
        )
        for place, (fold, dataset, result) in enumerate(
            zip(plan.folds, datasets, results, strict=True)
        )
    )
    name = f"{len(folds)} {'sources' if config.cross_validate.by == 'source' else 'folds'}"
    return CrossValidation(
        by=config.cross_validate.by,
        folds=folds,
        only_trained_on=plan.only_trained_on,
        pooled=pooled_result(pooled, name, rounds),
    )


def _tested(fold: Fold) -> pa.Table:
    """What the fold's model has predicted. Of a lesion that the source shares with another source,
    which was left out as a whole, the photographs of the source alone.
    """
    table = read_prediction_table(fold.run.evaluation(TESTED).predictions)
    return table if fold.source is None else table.filter(pc.equal(table[SOURCE], fold.source))


def _check_each_once(table: pa.Table, datasets: Sequence[Dataset], plan: _Plan) -> None:
    """Raise CheckError where an image was tested twice or, by folds, not at all."""
    counts = Counter(table["image_id"].to_pylist())
    twice = [image for image, count in counts.items() if count > 1]
    tensors = {dataset.tensors for dataset in datasets}
    by_folds = all(fold.source is None for fold in plan.folds)
    if twice or len(tensors) > 1 or (by_folds and len(counts) not in tensors):
        sizes = ", ".join(f"{dataset.tensors:,}" for dataset in datasets)
        raise CheckError(
            f"{plan.folder.path}: {len(counts):,} images were tested, {len(twice):,} of them "
            f"twice; the datasets have {sizes} images. Did the archive or its metadata change in "
            f"the meantime? Begin anew in another folder: --output NAME"
        )
