"""Archive + metadata → a model for each fold, and one result of all their test images.

Each image is predicted once, by a model that was not trained on its lesion.
"""

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from skinclf.archives import check_apart
from skinclf.config.schema import Config
from skinclf.errors import CheckError, ConfigError, UsageError
from skinclf.evaluation.cross_validation import Pooled, pooled_result
from skinclf.evaluation.gates import check_gate_settings
from skinclf.evaluation.predictions import SOURCE, predictions_of
from skinclf.evaluation.result import CrossValidation, EvaluationResult, FoldResult
from skinclf.evaluation.sources import part_metrics
from skinclf.reporting.cross_validation import write_pages
from skinclf.reporting.results import (
    read_prediction_table,
    readable_cross_validation,
    write_cross_validation,
)
from skinclf.spark.tested import split_files
from skinclf.stages import prepare as preparing
from skinclf.stages.deciding import check_classes, check_decision
from skinclf.stages.evaluate import evaluate
from skinclf.stages.folds import (
    OTHERWISE,
    TESTED,
    Fold,
    FoldPlan,
    named,
    plan_folds,
    teacher_recipes,
)
from skinclf.stages.preview import Preview, session_text
from skinclf.stages.resuming import check_shared_files, prepared
from skinclf.stages.train import check_settings, checked_steps, train
from skinclf.storage.cross_validation_folder import CrossValidationFolder
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import absolute, delete, exists, join, name_of, write_table
from skinclf.storage.parquet_files import iter_rows_with
from skinclf.storage.run_folder import RunFolder

log = logging.getLogger(__name__)


def cross_validate(config: Config, console: Console) -> tuple[CrossValidation, str]:
    """Prepare, train and evaluate for each fold of `config.cross_validate` → (what
    cross-validation.json holds, the page's path).

    What an earlier start has finished is taken over. Whether `evaluate.gates` are reached is asked
    by `check_gates` of the pooled result. Raises UsageError children before Spark starts for
    settings, paths and sources that are wrong, what the stages raise, and CheckError where the
    datasets of the folds have other images, or images are predicted twice or not at all.
    """
    plan = _checked(config)
    for source, lesions in plan.only_trained_on.items():
        log.info("%s: only trained on (%s lesions)", named(source), f"{lesions:,}")
    # All of them first: what is wrong with one is not found out after hours of training.
    datasets = [_prepared(fold, plan, console) for fold in plan.folds]
    _check_alike(datasets, plan)
    results = []
    for place, fold in enumerate(plan.folds, 1):
        log.info("%s (%s of %s)", fold.title, place, len(plan.folds))
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


def check_given(
    config: Config, *, folds: int | None = None, min_lesions: int | None = None
) -> None:
    """Raise UsageError where a caller asks for what has no effect with `cross_validate.by`."""
    by = config.cross_validate.by
    unused, value = {"source": ("folds", folds), "fold": ("min_lesions", min_lesions)}[by]
    if value is not None:
        raise UsageError(f'cross_validate.{unused}: has no effect with cross_validate.by = "{by}"')


def _prepared(fold: Fold, plan: FoldPlan, console: Console) -> Dataset:
    """The fold's dataset. Raises UsageError children where it does not do for its trainings or for
    its test.
    """
    log.info("%s: prepare", fold.title)
    dataset = prepared(fold.config, console, OTHERWISE)
    fold.check_run(dataset)
    if not _has_tests(fold, dataset):
        cause = (
            f"the archive has too few lesions for {len(plan.folds)} folds. Choose fewer "
            f"(--folds), and another folder (--output)"
            if fold.source is None
            else f"none could be read. Its rejects are in {dataset.path}"
        )
        raise ConfigError(f"{fold.title}: has no image to test: {cause}")
    if not fold.config.evaluate.allow_leaks:
        check_shared_files(
            dataset,
            fold.title,
            "another folder: --output NAME. Or ask for metrics that are too good: --set "
            "evaluate.allow_leaks=true",
        )
    for training in fold.trainings().values():
        checked_steps(training, dataset)
    check_classes(fold.config.decision, dataset)
    return dataset


def _has_tests(fold: Fold, dataset: Dataset) -> bool:
    """Whether the fold has an image to test. The test split of a source has other sources' images,
    too, where they share a lesion: see `_tested`.
    """
    if fold.source is None:
        return bool(dataset.count(TESTED))
    wanted = pa.array([fold.source], pa.string())
    return any(
        len(table)
        for file in split_files(dataset, TESTED)
        for table in iter_rows_with(file, wanted, SOURCE, [SOURCE])
    )


def _check_alike(datasets: Sequence[Dataset], plan: FoldPlan) -> None:
    """Raise CheckError where the folds' datasets are not of the same images."""
    if len({dataset.tensors for dataset in datasets}) > 1:
        sizes = ", ".join(f"{dataset.tensors:,}" for dataset in datasets)
        raise CheckError(
            f"{plan.folder.path}: the datasets of the folds have {sizes} images. Did the archive "
            f"or its metadata change in the meantime? Begin anew in another folder: --output NAME"
        )


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
        f"{named(source)}: nothing, its {lesions:,} lesions are only trained on"
        for source, lesions in plan.only_trained_on.items()
    ]
    reads = [*config.archive.paths, *config.archive.metadata_files]
    return Preview(reads, [plan.folder.path], [*starts, *small])


def _checked(config: Config) -> FoldPlan:
    """The folds and their folder. Raises UsageError children for what can't be done as asked."""
    check_gate_settings(config.evaluate.gates, config.classes)
    check_decision(config.decision, config.classes, has_validation=config.split.val > 0)
    teachers = teacher_recipes(config)
    for each in (config, *teachers):
        check_settings(each)
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
    if config.dataset.overwrite:
        raise ConfigError(
            "dataset.overwrite: what an earlier start has finished is taken over. Begin anew in "
            "another folder: --output NAME"
        )
    preparing.check_archive(config)
    check_apart(config.archive.paths, config.cross_validate.output, "cross_validate.output")
    folder = CrossValidationFolder(absolute(config.cross_validate.output))
    plan = plan_folds(config, teachers, folder)
    _check_folder(folder, plan)
    for fold in plan.folds:
        dataset = preparing.finished_dataset(fold.config, OTHERWISE)
        if dataset is None:
            preparing.check_output(fold.config)
        else:
            fold.check_run(dataset)
    return plan


def _check_folder(folder: CrossValidationFolder, plan: FoldPlan) -> None:
    """Raise UsageError where the folder holds something else, which would be replaced."""
    choose = "Choose another folder: --output NAME"
    if exists(RunFolder(folder.path).config):
        raise UsageError(f"{folder.path}: holds a run. {choose}")
    foreign = [] if exists(folder.page) else [folder.card]
    if not folder.is_finished and not any(exists(fold.run.config) for fold in plan.folds):
        foreign.append(folder.predictions)
    for path in filter(exists, foreign):
        raise UsageError(
            f"{folder.path}: holds {name_of(path)}, which no cross-validation wrote there. {choose}"
        )
    known = readable_cross_validation(folder.metrics) if folder.is_finished else None
    there = {fold.name for fold in known.folds} if known else set()
    if known and there != {fold.name for fold in plan.folds}:
        raise UsageError(
            f"{folder.path}: holds a cross-validation of {', '.join(sorted(there))}. {choose}"
        )


def _pooled(
    plan: FoldPlan, datasets: Sequence[Dataset], results: Sequence[EvaluationResult], config: Config
) -> CrossValidation:
    """Read what each model has predicted, write it as one table, and measure it."""
    tables = [_tested(fold) for fold in plan.folds]
    places = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    table = pa.concat_tables(tables)
    _check_each_once(table, datasets[0].tensors, plan)
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
    table = read_prediction_table(fold.run.evaluation(TESTED).predictions).sort_by("image_id")
    return table if fold.source is None else table.filter(pc.equal(table[SOURCE], fold.source))


def _check_each_once(table: pa.Table, images: int, plan: FoldPlan) -> None:
    """Raise CheckError where an image was tested twice or, by folds, not at all."""
    counts = Counter(table["image_id"].to_pylist())
    twice = [image for image, count in counts.items() if count > 1]
    by_folds = all(fold.source is None for fold in plan.folds)
    if twice or (by_folds and len(counts) != images):
        raise CheckError(
            f"{plan.folder.path}: {len(counts):,} images were tested, {len(twice):,} of them "
            f"twice; the datasets have {images:,} images. Did the archive or its metadata change "
            f"in the meantime? Begin anew in another folder: --output NAME"
        )
