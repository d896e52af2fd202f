"""Dataset → run folder with a trained model."""

import logging
import time
from collections.abc import Sequence

from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.config.schema import Config, TrainConfig
from skinclf.distributed.launcher import REQUIRED_CONF, SparkLauncher
from skinclf.distributed.preflight import check_fit, preflight
from skinclf.distributed.supervisor import Supervisor
from skinclf.errors import ConfigError, DatasetError, RunError, TrainingError
from skinclf.reporting.figures.training import history_figures
from skinclf.reporting.model_card import write_card
from skinclf.reporting.pages import png
from skinclf.reporting.tracking import (
    Tracking,
    check_client,
    epochs_tracked,
    send_to_mlflow,
)
from skinclf.reporting.training_progress import training_display
from skinclf.spark.failures import spark_failures
from skinclf.spark.session import spark_session
from skinclf.spec.image_spec import BENBRAHIM_2020, ImageSpec
from skinclf.spec.taxonomy import HAM10000
from skinclf.stages.preview import Preview, session_text
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import absolute, exists, write_bytes
from skinclf.storage.history import Epoch, check_best_is_known, final_epoch, is_over
from skinclf.storage.ownership import check_free, owned
from skinclf.storage.run_folder import AUTO, MODEL, RunFolder
from skinclf.system.machine import has_bfloat16
from skinclf.training import check_installed
from skinclf.training.batches import check_divides, steps_an_epoch
from skinclf.training.choices import check_choices
from skinclf.training.job import TrainingJob
from skinclf.training.networks import check_size
from skinclf.training.predictor import Predictor

log = logging.getLogger(__name__)


def train(config: Config, console: Console) -> list[Epoch]:
    """Train the network on the dataset of `config` and return the history of its epochs.

    An unfinished run resumes from its last checkpoint; a finished one is left as it is.
    Whatever can be wrong with the settings is refused before Spark starts: DatasetError,
    RunError, ConfigError. Raises PreflightError where the cluster can't train, and TrainingError
    where training ends without a model; of its children, WorkersLost and SlotsUnavailable, and of
    ExecutorsLost, another try may help.
    """
    config, dataset, run, steps = checked(config)
    if run.begin(config, dataset):
        return _finished(config, run)
    _tell(config, dataset.count("train"), steps)
    tracking = Tracking.of_run(config, run)
    required = {} if config.train.local_mode else REQUIRED_CONF
    with (
        spark_session("train", config.spark, required) as spark,
        spark_failures(run.path),
    ):
        _look_first(spark, dataset, run.path, config)
        teachers = _kept_teachers(run, config.train, dataset)
        job = TrainingJob(dataset, run, config.model, config.train, teachers=teachers)
        supervisor = Supervisor(
            SparkLauncher(spark, config.fault_tolerance), job, config.fault_tolerance
        )
        with (
            owned(run.path, "train", supervisor.cancel),
            training_display(run, config.train.epochs, console, supervisor.cancel),
            epochs_tracked(tracking, run, supervisor.cancel),
        ):
            run.check(config, dataset)  # another start may have begun it as this one did
            if run.is_finished:  # by another start, for which this one waited
                return _finished(config, run)
            supervisor.train()
    history = run.read_history()
    if not is_over(history, config.train):
        raise TrainingError(
            f"{run}: {len(history)} epochs in the history, {config.train.epochs} expected. "
            f"Is this folder on storage that driver and executors share?"
        )
    describe(run)
    send_to_mlflow(config, run)
    epoch = final_epoch(history, config.train)
    log.info(
        "wrote the model of epoch %s (of %s taken) to %s",
        epoch,
        len(history),
        run.model,
        extra={"counts": {"epoch": epoch, "epochs": len(history)}},
    )
    return history


def _finished(config: Config, run: RunFolder) -> list[Epoch]:
    """The history of a run that has its model already."""
    log.info("%s is finished (it has %s) and stays as it is", run, MODEL)
    describe(run)  # a driver that was killed at the very end did not
    send_to_mlflow(config, run)
    return run.read_history()


def preview(config: Config) -> Preview:
    """What `train` would do. Raises what it raises before Spark starts."""
    config, dataset, run, _ = checked(config)
    slots = "in the driver" if config.train.local_mode else f"in {config.train.slots} Spark tasks"
    starts = [session_text(config.spark), f"a training of {config.train.epochs} epochs {slots}"]
    if run.is_finished:
        starts = [f"nothing: {run} is finished"]
    return Preview([dataset.path], [run.path], starts)


def check_settings(config: Config) -> None:
    """What can be checked of a training before there is a dataset. Raises ConfigError."""
    check_choices(config)
    if config.train.local_mode:
        check_installed()
    _check_fits(config, config.dataset.shards, config.image, has_validation=config.split.val > 0)


def checked_steps(config: Config, dataset: Dataset) -> int:
    """The steps of an epoch. Raises UsageError children for settings that don't fit the dataset,
    and for one that nothing can be learned from.
    """
    if dataset.only_class:
        raise DatasetError(
            f"{dataset.path}: all training images are {dataset.only_class}, so there is nothing to "
            f"tell apart. Prepare a dataset with images of two classes or more"
        )
    has_validation = dataset.count("val") > 0
    _check_fits(config, dataset.shards, dataset.image, has_validation=has_validation)
    return steps_an_epoch(dataset.rows_of("train"), config.train.global_batch_size)


def _check_fits(config: Config, shards: int, image: ImageSpec, *, has_validation: bool) -> None:
    """Raise ConfigError where what is trained does not fit what it is trained on."""
    check_divides(shards, config.train.slots, config.train.global_batch_size)
    check_best_is_known(config.train, has_validation=has_validation)
    check_size(config.model, image)


def checked(config: Config) -> tuple[Config, Dataset, RunFolder, int]:
    """The config with the dataset's classes and images, the dataset, the folder to train in, and
    the steps of an epoch.

    Raises UsageError children for what can't be trained as asked.
    """
    check_choices(config)
    check_client(config)
    dataset = Dataset.read(config.dataset.path)
    # A run keeps to the classes and the images of its dataset, whatever [classes] and [image] say.
    asked, theirs = (config.classes, config.image), (dataset.taxonomy, dataset.image)
    if asked not in (theirs, (HAM10000, BENBRAHIM_2020)):
        log.warning("[classes] and [image] are not used: %s has others", dataset.path)
    steps = checked_steps(config, dataset)
    run = RunFolder(absolute(config.run.path))
    check_free(run.path)
    own = {"classes": dataset.taxonomy, "image": dataset.image}
    own |= {"train": _with_precision(config.train, run)}
    config = config.model_copy(update=own)
    run.check(config, dataset)
    if not run.is_finished:
        if config.train.local_mode:
            check_installed()
        _check_teachers(config.train.teachers, run, dataset)
    return config, dataset, run, steps


def _check_teachers(teachers: Sequence[str], run: RunFolder, dataset: Dataset) -> None:
    """Raise ConfigError for a teacher that is not trained, or on another dataset: one that knows
    images which are validation's or test's here would make the figures of `run` too good.
    """
    for number, path in enumerate(teachers):
        teacher = RunFolder(absolute(path))
        if teacher == run:
            raise ConfigError(f"train.teachers: {run} is the run itself")
        if run.teacher(number).is_finished:
            continue
        if not teacher.is_finished:
            raise ConfigError(f"train.teachers: {teacher} holds no finished model: train it first")
        try:
            Predictor.of_run(teacher.path, tta="none", decided=False)
            teacher.read_config()
            theirs = teacher.read_dataset()
        except (RunError, DatasetError) as error:
            raise ConfigError(f"train.teachers: {teacher} is not whole: {error}") from None
        if not theirs.same_as(dataset):
            raise ConfigError(
                f"train.teachers: {teacher} was trained on another dataset than {dataset.path}. A "
                f"teacher has to be trained on the same one: it must not know the images that the "
                f"network is tested on"
            )


def _kept_teachers(run: RunFolder, train: TrainConfig, dataset: Dataset) -> tuple[Predictor, ...]:
    """The models that are learned from: the run's own copies. Raises RunError for a damaged one,
    and what `_check_teachers` raises: one may be trained anew while this training waits for slots.
    """
    _check_teachers(train.teachers, run, dataset)
    run.keep_teachers(train.teachers)
    return tuple(
        Predictor.of_run(run.teacher(n).path, train.precision, tta="none", decided=False)
        for n, _ in enumerate(train.teachers)
    )


def _with_precision(train: TrainConfig, run: RunFolder) -> TrainConfig:
    """The settings with a precision in place of "auto": the run's own if it is begun, else
    bfloat16 where this machine's processor has it.
    """
    if train.precision != AUTO:
        return train
    begun = exists(run.config)
    chosen = "bfloat16" if has_bfloat16() else "float32"
    precision = run.read_config().train.precision if begun else chosen
    return train.model_copy(update={"precision": precision})


def _tell(config: Config, images: int, steps: int) -> None:
    """Say what is about to be trained, and where its gradients go."""
    train, ports = config.train, config.fault_tolerance.ports
    log.info(
        "training on %s images: %s epochs of %s steps, global batch %s, %s, %s",
        f"{images:,}",
        train.epochs,
        steps,
        train.global_batch_size,
        "in the driver" if train.local_mode else f"{train.slots} slots",
        train.precision,
        extra={"counts": {"images": images, "epochs": train.epochs, "steps": steps}},
    )
    if not train.local_mode:
        log.info(
            "workers exchange gradients by TensorFlow's own gRPC, which is not encrypted, on %s: "
            "keep these within a network that you trust",
            f"ports {ports}" if ports else "ports of their choice",
        )


def _look_first(spark: SparkSession, dataset: Dataset, run: str, config: Config) -> None:
    """Raise PreflightError or SlotsUnavailable where the cluster can't train; hint at what would be
    faster or safer.
    """
    start = time.monotonic()
    checks = preflight(spark, dataset, run, config.train, config.fault_tolerance)
    check_fit(checks)
    log.info("preflight: %s checks passed in %.1f s", len(checks), time.monotonic() - start)
    for check in checks:
        if check.warning:
            log.warning("%s: %s. %s", check.name, check.found, check.advice)
        if check.hint:
            log.info("%s: %s; %s", check.name, check.found, check.hint)


def describe(run: RunFolder) -> None:
    """Write the model card, and draw accuracy and loss by epoch, where they are not yet."""
    if not exists(run.card):
        write_card(run)
    for name, figure in history_figures(run.read_history()).items():
        path = run.figure(name)
        if not exists(path):
            write_bytes(path, png(figure))
