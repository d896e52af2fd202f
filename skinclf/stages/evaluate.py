"""Dataset or outside archive + run → predictions, metrics, a report and a model card."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.archives.labelled import LabelledArchive, absolute_archive
from skinclf.archives.same_lesion import read_groups
from skinclf.config.schema import FOLDERS, ArchiveConfig, Config, EvaluateConfig
from skinclf.errors import CheckError, ConfigError, LeakError, MetadataError, RunError
from skinclf.evaluation.assessment import assess
from skinclf.evaluation.decisions import decision_metrics
from skinclf.evaluation.gates import check_gate_settings
from skinclf.evaluation.metrics import METRICS
from skinclf.evaluation.operating_points import screened
from skinclf.evaluation.predictions import Predictions, predictions_of, with_decisions
from skinclf.evaluation.result import COMPARED, EvaluationResult, LeakCounts
from skinclf.reporting.evaluation import (
    Neighbors,
    most_confident_errors,
    picture,
    write_report,
)
from skinclf.reporting.model_card import write_card
from skinclf.reporting.results import read_prediction_table, readable_result, write_result
from skinclf.reporting.tracking import send_to_mlflow
from skinclf.spark.exclusive import exclusive
from skinclf.spark.failures import spark_failures
from skinclf.spark.inference import predicted_files
from skinclf.spark.leaks import csv_of, find_leaks, seen_splits
from skinclf.spark.neighbors import nearest_seen
from skinclf.spark.progress import spark_progress
from skinclf.spark.session import spark_session
from skinclf.spark.splits import SPLITS, VAL
from skinclf.spark.tested import (
    TestedImages,
    images_called,
    outside_images,
    replace_rejects,
    split_files,
    split_images,
)
from skinclf.spec.decision import Decision, decide, weights_of
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.taxonomy import Taxonomy
from skinclf.stages import prepare as preparing
from skinclf.stages.deciding import chosen_decision, kept_decision
from skinclf.stages.preview import Preview, session_text
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.evaluation_folder import EvaluationFolder
from skinclf.storage.files import (
    absolute,
    delete,
    exists,
    join,
    name_of,
    write_table,
    write_text,
)
from skinclf.storage.ownership import check_free
from skinclf.storage.parquet_files import counted
from skinclf.storage.run_folder import RunFolder
from skinclf.training import check_installed
from skinclf.training.embedding import Embedding
from skinclf.training.engines import check_engine, predictor_for
from skinclf.training.predictor import Predictor

log = logging.getLogger(__name__)

SPLIT_LEAKS = "Split by lesion (split.by)"
OUTSIDE_LEAKS = (
    "Leave these images out of the set; if others have their ids or lesions by chance, rename those"
)
"""What to do about images that a model knows: of a split, and of a set from elsewhere."""


@dataclass(frozen=True)
class Asked:
    """What is evaluated, on what, and where the evaluation goes."""

    config: Config
    model: Predictor
    run: RunFolder
    dataset: Dataset  # that the run was trained on
    folder: EvaluationFolder
    outside: LabelledArchive | None  # the archive from elsewhere, if it is one
    kept: Decision | None  # that the run keeps, where the rule is "stored"

    @property
    def settings(self) -> EvaluateConfig:
        """[evaluate]."""
        return self.config.evaluate

    @property
    def seen(self) -> list[str]:
        """The files of the images that the tested ones may have nothing in common with."""
        return split_files(self.dataset, *seen_splits(outside=self.outside is not None))


class Answers(NamedTuple):
    """What the model says of the tested images, before that is written."""

    tested: pa.Table  # of predictions_schema
    validation: Predictions | None  # None: there is no other set than the tested one
    decision: Decision | None  # None: the most probable class


class Predicted(NamedTuple):
    """The predictions that an evaluation is of."""

    tested: Predictions
    validation: Predictions  # on which thresholds are chosen; `tested` where there is no other
    decision: Decision | None  # None: the most probable class

    @property
    def is_chosen_on_itself(self) -> bool:
        """Whether thresholds are chosen on the tested images."""
        return self.validation is self.tested


def evaluate(config: Config, console: Console) -> tuple[EvaluationResult, str]:
    """Measure how good the run's model is on a split, or on `evaluate.archive` → (what
    metrics.json holds, the report's path).

    Thresholds, temperature and, where `decision.rule` asks for it, the weights by which classes
    are decided on are chosen on the validation split; the run keeps these weights. Whether
    `evaluate.gates` are reached is asked by `check_gates` of the result. Raises UsageError children
    for what is missing, LeakError where the model was trained on tested lesions, images or files,
    and CheckError where an image got lost.
    """
    engine, tta = config.score.engine, config.evaluate.tta
    asked = _asked(config, predictor_for(config.run.path, engine, tta=tta, decided=False))
    run, folder = asked.run, asked.folder
    with (
        spark_session("evaluate", config.spark) as spark,
        spark_failures(folder.path),
        exclusive(spark, folder.path, "evaluate") as check_owner,
        _without_scratch(folder),
    ):
        tested = _tested_images(spark, asked, console)
        with spark_progress(spark, "look for leaks", console):
            leaks = _leaks(spark, asked, tested)
        with spark_progress(spark, "predict", console):
            answers = _answers(spark, asked, tested)
        check_owner()
        predicted = _replaced(asked, tested, answers)
        nearest = _neighbors(spark, asked, tested, console)
        result = _measured(asked, tested, leaks, predicted)
        _warn_of_thresholds(result, predicted.validation)
        check_owner()
        if config.decision.rule != "stored":  # else another evaluation may have chosen meanwhile
            run.write_decision(predicted.decision)
        report = _report(spark, asked, tested, predicted.tested, result, nearest)
        write_result(folder.metrics, result)  # last: with it, the evaluation is finished
    write_card(run)
    send_to_mlflow(config, run)
    log.info(
        "evaluated %s images of %s; report: %s",
        f"{result.images:,}",
        result.set,
        report,
        extra={"counts": {"images": result.images}},
    )
    return result, report


@contextmanager
def _without_scratch(folder: EvaluationFolder) -> Iterator[None]:
    """However it ends, leave nothing of what is needed only meanwhile."""
    try:
        yield
    finally:
        delete(folder.scratch)


def preview(config: Config) -> Preview:
    """What `evaluate` would do. Raises what it raises before Spark starts."""
    check_engine(config.score.engine)
    # No engine is chosen, for which a run may get a file.
    model = Predictor.of_run(config.run.path, tta=config.evaluate.tta, decided=False)
    asked = _asked(config, model)
    run, outside = asked.run, asked.outside
    more = [*outside.archive.paths, *outside.archive.metadata_files] if outside else []
    reads = [run.path, asked.dataset.path, *more]
    chosen = [] if config.decision.rule == "stored" else [run.decision]
    writes = [asked.folder.path, run.card, *chosen]
    return Preview(reads, writes, [session_text(config.spark)])


def _asked(config: Config, model: Predictor) -> Asked:
    """What is asked for. Raises UsageError children where that can't be done."""
    check_gate_settings(config.evaluate.gates, model.taxonomy)
    if config.evaluate.neighbors:  # no other engine gives what they are compared by
        check_installed()
    run = RunFolder(absolute(config.run.path))
    dataset = _trained_on(run, config.dataset.path)
    kept = kept_decision(config.decision, run, model, dataset)
    outside = _outside_archive(config, model.taxonomy)
    split = config.evaluate.split
    if not outside and not dataset.count(split):
        raise ConfigError(
            f"evaluate.split: {dataset.path} has no {split} images. Choose another split, or "
            f"prepare with split.{split} above 0"
        )
    folder = run.evaluation(set_name(config.evaluate))
    check_free(folder.path)
    if outside:
        _check_same_set(folder, outside.archive)
    return Asked(config, model, run, dataset, folder, outside, kept)


def _check_same_set(folder: EvaluationFolder, outside: ArchiveConfig) -> None:
    """Raise ConfigError where an evaluation of another set has the same name."""
    found = readable_result(folder.metrics) if exists(folder.metrics) else None
    asked = tuple(outside.paths), outside.metadata
    if found and found.archive and (found.archive, found.metadata) != asked:
        raise ConfigError(
            f"evaluate.name: {folder.path} is the evaluation of {', '.join(found.archive)} with "
            f"{found.metadata}. Name this set: --set evaluate.name=NAME"
        )


def _tested_images(spark: SparkSession, asked: Asked, console: Console) -> TestedImages:
    """The tensors that are tested; those of an archive from elsewhere are made now."""
    if asked.outside is None:
        return split_images(asked.dataset, asked.settings.split)
    return outside_images(spark, asked.outside, asked.model.image, asked.folder, console)


def _leaks(spark: SparkSession, asked: Asked, tested: TestedImages) -> LeakCounts:
    """Count what tested and seen images have in common, and list near duplicates beside the report.

    Raises LeakError where images share a key unless that is allowed.
    """
    groups = _same_lesions(asked.outside, asked.dataset, tested) if asked.outside else []
    leaks = find_leaks(spark, tested.files, asked.seen, asked.dataset.image, groups)
    keys = dict(sorted(counted(leaks.shared["key"]).items()))
    images = pc.count_distinct(leaks.shared["image_id"]).as_py()
    if images and not asked.settings.allow_leaks:
        some = leaks.shared.slice(0, 5).to_pylist()
        raise LeakError(
            f"{asked.folder.name}: {images} of its images share a lesion, an id or a file with "
            f"images that the model was trained on, or its thresholds chosen "
            f"({', '.join(f'{count} by {key}' for key, count in keys.items())}), such as "
            f"{', '.join('{image_id} ({key} {value})'.format(**row) for row in some)}: their "
            f"metrics would be too good. {OUTSIDE_LEAKS if asked.outside else SPLIT_LEAKS}, or ask "
            f"for metrics that say so: --set evaluate.allow_leaks=true"
        )
    place = asked.folder.near_duplicates
    delete(place)
    write_text(join(place, "near-duplicates.csv"), csv_of(leaks.pairs))
    near = pc.count_distinct(leaks.pairs["image_id"]).as_py()
    if near:
        log.warning("%s images look nearly like images that the model knows: see %s", near, place)
    return LeakCounts(images=images, by_key=keys, near_duplicates=near)


def _same_lesions(
    outside: LabelledArchive, dataset: Dataset, tested: TestedImages
) -> list[list[str]]:
    """The groups of ids that are one lesion, by the list of the outside set and by the one that the
    dataset was prepared with. A lesion that was merged into another one is known by either id.
    """
    groups = read_groups(outside.archive.same_lesion)
    if dataset.same_lesion != outside.archive.same_lesion:
        try:
            groups += read_groups(dataset.same_lesion)
        except MetadataError as error:
            log.warning("%s. Leaks by this list of the dataset's are not found", error)
    return groups + [[*ids] for each in (dataset, tested) for ids in each.merged.items()]


def _answers(spark: SparkSession, asked: Asked, tested: TestedImages) -> Answers:
    """Predict the tested images, and choose how classes are decided on, where that is asked for."""
    settings, dataset = asked.settings, asked.dataset
    sets = {"tested": tested.files}
    tests_validation = not asked.outside and settings.split == VAL
    if dataset.count(VAL) and not tests_validation:
        sets["validation"] = split_files(dataset, VAL)
    found = predicted_files(spark, sets, asked.model, settings.batch_size)
    validation = predictions_of(found.get("validation", found["tested"]), dataset.taxonomy)
    decision = asked.kept  # None: the most probable class is decided on
    if asked.config.decision.is_chosen and not decision:
        decision = chosen_decision(asked.config.decision, validation, dataset, asked.model)
    weights = weights_of(decision, dataset.taxonomy)
    validation = replace(validation, decided=decide(validation.probabilities, weights))
    table = with_decisions(found["tested"], weights, dataset.taxonomy)
    return Answers(table, validation if "validation" in found else None, decision)


def _replaced(asked: Asked, tested: TestedImages, answers: Answers) -> Predicted:
    """Write predictions and rejects in the place of those of an evaluation before, which is gone
    from here on, and read the predictions back. Raises CheckError where some are missing.
    """
    folder = asked.folder
    for old in (folder.metrics, folder.report, folder.predictions):
        delete(old)
    if asked.outside:
        replace_rejects(folder, tested.reject_files)
    write_table(answers.tested, join(folder.predictions, "part-00000.parquet"))
    predictions = _read_predictions(folder.predictions, tested.count, asked.dataset.taxonomy)
    return Predicted(predictions, answers.validation or predictions, answers.decision)


def _measured(
    asked: Asked, tested: TestedImages, leaks: LeakCounts, predicted: Predicted
) -> EvaluationResult:
    """What metrics.json holds."""
    decision, validation = predicted.decision, predicted.validation
    outside = asked.outside.archive if asked.outside else None
    assessment = assess(
        predicted.tested,
        validation,
        sensitivities=asked.settings.screening_sensitivities,
        rounds=asked.settings.bootstrap_samples,
    )
    return EvaluationResult(
        set=asked.folder.name,
        digest=asked.model.digest,
        tta=asked.model.tta,
        split_by=tested.split_by,
        chosen_on=asked.folder.name if predicted.is_chosen_on_itself else VAL,
        archive=outside.paths if outside else (),
        metadata=outside.metadata if outside else "",
        rejects=tested.rejects,
        leaks=leaks,
        neighbors=asked.settings.neighbors,
        decision=decision_metrics(decision.asked, decision.weights, predicted.tested)
        if decision
        else None,
        validation={}
        if predicted.is_chosen_on_itself
        else {name: METRICS[name].value(validation) for name in COMPARED},
        **dict(assessment),
    )


def _report(
    spark: SparkSession,
    asked: Asked,
    tested: TestedImages,
    predictions: Predictions,
    result: EvaluationResult,
    nearest: Sequence[Neighbors],
) -> str:
    """Draw the report, with pictures of some images; returns its path."""
    image = asked.dataset.image
    errors = most_confident_errors(predictions)
    shown = [*(each.image_id for each in errors), *(pair.image_id for pair in nearest)]
    ours = _pictures(spark, tested.files, shown, image)
    theirs = _pictures(spark, asked.seen, [pair.seen for pair in nearest], image)
    pairs = [(pair, ours[pair.image_id], theirs[pair.seen]) for pair in nearest]
    return write_report(result, predictions, errors, ours, asked.run, asked.folder, pairs)


def set_name(settings: EvaluateConfig) -> str:
    """The folder of an evaluation: its split, or what the outside set is called.

    An outside set that is called like a split has another folder than the split. Raises ConfigError
    where its metadata or archive has no name that a folder can have.
    """
    if not settings.archive:
        return settings.split
    named_by = settings.archive[0] if settings.metadata == FOLDERS else settings.metadata
    name = settings.name or PurePath(name_of(absolute(named_by))).stem
    if not name.strip("."):
        raise ConfigError(f"evaluate.name: say what the set is called, which {named_by} does not")
    return f"outside-{name}" if name in SPLITS else name


def _trained_on(run: RunFolder, path: str) -> Dataset:
    """The dataset at `path`. Raises RunError where the run was trained on another."""
    dataset = Dataset.read(path)
    if not run.read_dataset().same_as(dataset):
        raise RunError(
            f"{run}: was not trained on {dataset.path}, so it is not known which of its images the "
            f"model has seen. Name the run's own dataset: --dataset PATH. It is needed with "
            f"--archive, too: to find images that the model was trained on"
        )
    return dataset


def _outside_archive(config: Config, taxonomy: Taxonomy) -> LabelledArchive | None:
    settings = config.evaluate
    if not settings.archive:
        return None
    named = {"paths": settings.archive, "metadata": settings.metadata}
    archive = absolute_archive(config.archive.model_copy(update=named))
    labelled = LabelledArchive(archive, config.metadata, taxonomy)
    preparing.check_readable(labelled)
    return labelled


def _read_predictions(path: str, expected: int, taxonomy: Taxonomy) -> Predictions:
    """What was written. Raises CheckError unless it is each image that was to be predicted."""
    predictions = predictions_of(read_prediction_table(path), taxonomy)
    if len(predictions) != expected or expected == 0:
        raise CheckError(f"{path}: {len(predictions)} predictions for {expected} images")
    return predictions


def _warn_of_thresholds(result: EvaluationResult, validation: Predictions) -> None:
    """Warn where validation has too few images to choose thresholds on."""
    if result.screening and not screened(validation)[0].any():
        log.warning(
            "%s: none of the %s images is of this class, so no threshold can be chosen: every "
            "image is flagged",
            result.taxonomy.name_of(result.taxonomy.screened),
            result.chosen_on,
        )
    short = [
        point for point in result.screening if point.expected_sensitivity < point.wanted_sensitivity
    ]
    if short:
        log.warning(
            "%s: too few of the %s images are of this class to choose thresholds for a sensitivity "
            "of %s; %.2f is to be expected",
            result.taxonomy.name_of(result.taxonomy.screened),
            result.chosen_on,
            ", ".join(f"{point.wanted_sensitivity:.2f}" for point in short),
            short[0].expected_sensitivity,
        )


def _neighbors(
    spark: SparkSession, asked: Asked, tested: TestedImages, console: Console
) -> list[Neighbors]:
    """List the nearest seen image of each tested one beside the report → the first of the list;
    none where that is not asked for.
    """
    settings, model, place = asked.settings, asked.model, asked.folder.neighbors
    delete(place)  # of an evaluation before
    if not settings.neighbors:
        return []
    embedding, image = Embedding(model.run, model.digest), model.image
    with spark_progress(spark, "look for neighbors", console):
        found = nearest_seen(spark, tested.files, asked.seen, embedding, image, settings.batch_size)
    write_text(join(place, "neighbors.csv"), csv_of(found))
    return [Neighbors(*row.values()) for row in found.slice(0, settings.neighbors).to_pylist()]


def _pictures(
    spark: SparkSession, files: Sequence[str], ids: Sequence[str], image: ImageSpec
) -> dict[str, bytes]:
    """image_id → PNG."""
    rows = images_called(spark, ids, files) if ids else []
    return {row["image_id"]: picture(row["pixels"], image) for row in rows}
