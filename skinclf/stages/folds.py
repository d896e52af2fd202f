"""What a cross-validation tests in turn: folds, or sources that are left out, each with the
settings of the stages for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from skinclf.archives.sources import NO_SOURCE, Source, counts_in_words
from skinclf.config.loader import changed
from skinclf.config.schema import RUNTIME_SETTINGS, Config
from skinclf.errors import ConfigError, DatasetError, RunError
from skinclf.evaluation.result import EvaluationResult
from skinclf.stages import prepare as preparing
from skinclf.stages.resuming import known_result
from skinclf.storage.cross_validation_folder import CrossValidationFolder, source_folder
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import absolute, exists
from skinclf.storage.run_folder import TEACHERS, RunFolder
from skinclf.system.text import printable

TESTED = "test"
"""The split whose images a fold tests."""

OTHERWISE = "Choose another folder: --output NAME"
"""What to do where a fold's folders hold other work than is asked for."""


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
            RunFolder(config.run.path).check(config, dataset, "--output NAME")

    def trainings(self) -> dict[str, Config]:
        """The trainings of its model, title → settings: teachers come before what learns from
        them, and are not needed any more where that is finished.
        """
        teachers = () if self.run.is_finished else self.teachers
        titled = {f"train teacher {n}": teacher for n, teacher in enumerate(teachers, 1)}
        return titled | {"train": self.config}

    def todo(self) -> str:
        """What an earlier start has left to do, in words; "" if nothing."""
        steps = {"prepare": preparing.finished_dataset(self.config, OTHERWISE) is None}
        for title, config in self.trainings().items():
            run = RunFolder(config.run.path)
            done = len(run.read_history())
            resumed = f" from epoch {done + 1} of {config.train.epochs} on" if done else ""
            steps[title + resumed] = not run.is_finished
        steps["evaluate"] = self.result is None
        return ", ".join(step for step, is_left in steps.items() if is_left)


@dataclass(frozen=True)
class FoldPlan:
    """What is tested in turn, and where all of it lies."""

    folds: Sequence[Fold]
    only_trained_on: dict[str, int]  # source → lesions
    folder: CrossValidationFolder


def teacher_recipes(config: Config) -> list[Config]:
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
        except (RunError, DatasetError) as error:
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


def plan_folds(
    config: Config, teachers: Sequence[Config], folder: CrossValidationFolder
) -> FoldPlan:
    """The folds of `config.cross_validate`, or the sources that are large enough.

    `teachers`: of `teacher_recipes`. Raises ConfigError where the metadata have too few lesions or
    sources, and MetadataError.
    """
    settings = config.cross_validate
    fold_of = partial(_fold, config, teachers, folder)
    sources = preparing.labelled_archive(config).sources()
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
        return FoldPlan(folds, {}, folder)
    tested = _large(sources, settings.min_lesions, config.archive.metadata)
    folds = [fold_of(source_folder(source), named(source), left_out=source) for source in tested]
    rest = {name: found.lesions for name, found in sources.items() if name not in tested}
    return FoldPlan(folds, rest, folder)


def named(source: str) -> str:
    """A source in a line of text."""
    return printable(source) or "no source"


def _large(sources: dict[str, Source], least: int, metadata: str) -> list[str]:
    """The sources with enough lesions. Raises ConfigError where there are fewer than two."""
    named = {name: found for name, found in sources.items() if name != NO_SOURCE}
    large = [name for name, found in named.items() if found.lesions >= least]
    if len(named) > 1 and large:
        return large
    lesions = {name: found.lesions for name, found in named.items()}
    there = counts_in_words(lesions, "lesions") or "none"
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
    changes = {f"split.{key}": value for key, value in split.items()} | {
        "dataset.path": folder.dataset(name),
        "dataset.overwrite": False,
        "evaluate.split": TESTED,
        "evaluate.archive": (),
        "evaluate.metadata": "",
        "evaluate.name": "",
    }

    def placed(settings: Config, path: str, teachers: Sequence[str] = ()) -> Config:
        return changed(settings, changes | {"run.path": path, "train.teachers": tuple(teachers)})

    return Fold(
        name,
        title,
        placed(config, run.path, [f"{TEACHERS}/{number}" for number in numbers]),
        split.get("left_out"),
        [placed(teachers[number], run.teacher(number).path) for number in numbers],
    )
