"""Archive + metadata → dataset."""

import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession
from rich.console import Console

from skinclf import __version__
from skinclf.archives import check_apart, check_paths
from skinclf.archives.decoding import Decode, Decoding
from skinclf.archives.labelled import LabelledArchive, absolute_archive
from skinclf.archives.same_lesion import read_groups
from skinclf.archives.sources import check_left_out
from skinclf.config.schema import FOLDERS, ArchiveConfig, Config
from skinclf.errors import ConfigError, DatasetError
from skinclf.reporting.dataset_card import dataset_card
from skinclf.spark.archive import needs_spark
from skinclf.spark.caching import Keep, kept_frames
from skinclf.spark.dataset import (
    check_lesions_apart,
    check_nothing_lost,
    check_unchanged,
    class_counts,
    count_shared_files,
    reject_counts,
    reject_files,
    tensor_files,
)
from skinclf.spark.exclusive import exclusive
from skinclf.spark.failures import spark_failures
from skinclf.spark.plan import Plan, plan_archive
from skinclf.spark.progress import spark_progress
from skinclf.spark.session import spark_session
from skinclf.spark.tensors import read_tensors, write_tensors
from skinclf.stages.preview import Preview, session_text
from skinclf.storage.dataset_folder import CARD, MANIFEST, STAGING, Dataset, output_folder
from skinclf.storage.files import absolute, exists, join, write_text
from skinclf.storage.output_folder import OutputFolder
from skinclf.storage.ownership import check_free
from skinclf.storage.part_files import Written

REPLACE = (
    "Name another folder (dataset.path) or allow its replacement: --set dataset.overwrite=true"
)
"""What to do where the dataset's folder holds another one than is asked for."""

log = logging.getLogger(__name__)


def prepare(config: Config, console: Console) -> Dataset:
    """Build the dataset of `config` from its archive and return what dataset.json says.

    A finished dataset of the same archive and settings is left as it is; one that is to be replaced
    (`dataset.overwrite`) stays whole until the new one is. Raises UsageError children for what
    can't be read or is in the way, CheckError where the closing checks fail, QualityError where no
    input became a tensor, and StorageUnavailable where the storage fails or the archive is
    rewritten meanwhile.
    """
    finished = None if config.dataset.overwrite else finished_dataset(config)
    if finished:
        log.info("%s", _stays(finished))
        return finished
    return build(config, console)


def build(config: Config, console: Console, decode: Decode | None = None) -> Dataset:
    """What `prepare` does where no dataset is finished; `decode` replaces the decoder."""
    folder = check_inputs(config)
    path = folder.path
    with (
        spark_session("prepare", config.spark) as spark,
        spark_failures(path),
        exclusive(spark, path, "prepare") as check_owner,
        kept_frames() as keep,
    ):
        folder.begin(overwrite=config.dataset.overwrite, named=_named(path))
        with spark_progress(spark, "plan", console):
            labelled = labelled_archive(config)
            plan = plan_archive(spark, labelled, config.split, path, join(path, STAGING), keep)
        log.info("listed %s files", f"{plan.files:,}", extra={"counts": {"files": plan.files}})
        decoding = Decoding(config.archive, decode, config.image, digests=True)
        with spark_progress(spark, "decode and write tensors", console):
            written = write_tensors(plan, decoding, path)
        with spark_progress(spark, "check", console):
            dataset = _checked(spark, config, path, plan, written, keep)
        check_owner()
        write_text(join(path, CARD), dataset_card(dataset))
        folder.finish(dataset.to_json(), dataset.named)
    counts = {
        "tensors": dataset.tensors,
        "rejects": sum(dataset.rejects.values()),
        "inputs": dataset.inputs,
    }
    log.info(
        "wrote %s tensors (%s rejects) of %s inputs to %s",
        *(f"{count:,}" for count in counts.values()),
        dataset.path,
        extra={"counts": counts},
    )
    if dataset.only_class:
        log.warning(
            "%s: all training images are %s. skinclf train refuses this dataset: it needs two "
            "classes",
            dataset.path,
            dataset.only_class,
        )
    return dataset


def finished_dataset(config: Config, otherwise: str = REPLACE) -> Dataset | None:
    """The dataset of `config` if it is finished. Raises DatasetError where it is of another archive
    or of other settings, with what to do `otherwise`.
    """
    path = absolute(config.dataset.path)
    if not exists(join(path, MANIFEST)):
        return None
    dataset = Dataset.read(path)
    theirs = _with_absolute_paths(dataset)
    asked = _asked(config)
    if not config.archive.licence:  # none is said, and not that there is none
        del asked["licence"]
    differing = [
        setting for name, (setting, ours) in asked.items() if getattr(theirs, name) != ours
    ]
    if differing:
        raise DatasetError(
            f"{path}: is a finished dataset of {', '.join(dataset.sources)}, not of the archive "
            f"and split asked for ({', '.join(differing)} differ). {otherwise}"
        )
    return dataset


def _with_absolute_paths(dataset: Dataset) -> Dataset:
    """A dataset of an earlier version has the paths as they were written."""
    archive = absolute_archive(
        ArchiveConfig.model_construct(
            paths=tuple(dataset.sources),
            metadata=dataset.metadata,
            same_lesion=dataset.same_lesion,
        )
    )
    absolute_paths = {
        "sources": list(archive.paths),
        "metadata": archive.metadata,
        "same_lesion": archive.same_lesion,
    }
    return dataset.model_copy(update=absolute_paths)


def _asked(config: Config) -> dict[str, tuple[str, Any]]:
    """What a dataset keeps of the settings that it was made by: field of Dataset → the setting, or
    the section, and its value.
    """
    archive = absolute_archive(config.archive)
    return {
        "sources": ("archive.paths", list(archive.paths)),
        "metadata": ("archive.metadata", archive.metadata),
        "same_lesion": ("archive.same_lesion", archive.same_lesion),
        "selection": ("[archive]", archive.selection),
        "licence": ("archive.licence", archive.licence),
        "words": ("[metadata]", config.metadata),
        "taxonomy": ("[classes]", config.classes),
        "image": ("[image]", config.image),
        "split": ("[split]", config.split),
        "shards": ("dataset.shards", config.dataset.shards),
    }


def _stays(dataset: Dataset) -> str:
    return (
        f"{dataset.path} is finished and stays as it is: it was prepared on "
        f"{dataset.created[:10]}, from this archive and by these settings. If files have changed "
        f"or come since, prepare it anew: --set dataset.overwrite=true"
    )


def check_inputs(config: Config) -> OutputFolder:
    """The folder that the dataset goes to. Raises what `prepare` raises before Spark starts."""
    check_archive(config)
    check_apart(config.archive.paths, config.dataset.path, "dataset.path")
    if config.split.left_out:
        _check_left_out(config)
    if config.archive.metadata == FOLDERS and config.split.by == "lesion":
        log.warning(
            "folders name no lesions: only photographs that archive.same_lesion lists as one "
            "lesion are sure to be in one split"
        )
    return check_output(config)


def check_output(config: Config) -> OutputFolder:
    """The folder that the dataset goes to. Raises UsageError where something is in the way."""
    path = absolute(config.dataset.path)  # tasks write there, and run elsewhere
    folder = output_folder(path)
    folder.check(overwrite=config.dataset.overwrite)
    _named(path)
    check_free(path)
    return folder


def labelled_archive(config: Config) -> LabelledArchive:
    """The archive that datasets are made of."""
    return LabelledArchive(config.archive, config.metadata, config.classes)


def check_archive(config: Config) -> None:
    """Raise UsageError children where archive, metadata or the list of lesions can't be read."""
    if not config.archive.paths:
        raise ConfigError(
            "archive.paths: is empty; name the folders or zip files with the images: --archive "
            "HAM10000_images_part_1.zip --archive HAM10000_images_part_2.zip"
        )
    check_readable(labelled_archive(config))


def check_readable(labelled: LabelledArchive) -> None:
    """Raise UsageError children where paths, table or list of lesions can't be read: before Spark
    starts.
    """
    archive = labelled.archive
    if not needs_spark(archive, archive.paths):
        check_paths(archive.paths)
    labelled.check_table()
    read_groups(archive.same_lesion)


def _check_left_out(config: Config) -> None:
    """Raise ConfigError where the metadata has no such source."""
    counts = {name: source.images for name, source in labelled_archive(config).sources().items()}
    check_left_out(config.split.left_out, counts, config.archive.metadata)


def preview(config: Config) -> Preview:
    """What `prepare` would do. Raises what it raises before Spark starts."""
    finished = None if config.dataset.overwrite else finished_dataset(config)
    if finished:
        return Preview([finished.path], [], [f"nothing: {_stays(finished)}"])
    folder = check_inputs(config)
    if config.archive.metadata != FOLDERS:
        deque(labelled_archive(config).rows(), maxlen=0)  # as the job does before anything else
    reads = [*config.archive.paths, *config.archive.metadata_files]
    return Preview(reads, [folder.path], [session_text(config.spark)])


def _named(path: str) -> list[str]:
    """The files of the dataset that is to be replaced; none where there is none.

    Raises DatasetError where it can't be read: all of it would be deleted as nobody's.
    """
    if not exists(join(path, MANIFEST)):
        return []
    try:
        return Dataset.read(path).named
    except DatasetError as error:
        raise DatasetError(
            f"{error}. What lies there is kept: to replace it, delete {path}"
        ) from None


def _checked(
    spark: SparkSession,
    config: Config,
    path: str,
    plan: Plan,
    written: Sequence[Written],
    keep: Keep,
) -> Dataset:
    """Read back what was written and describe it. Raises CheckError."""
    reasons = reject_counts(path, written)
    check_unchanged(path, config.archive.paths, reasons)
    files = tensor_files(written)
    columns = ("file", "split", "dx", "lesion_id", "image_id", "digest")
    tensors = keep(read_tensors(spark, path, files).select(*columns))
    counts = class_counts(tensors, written)
    count = sum(sum(by_class.values()) for by_class in counts.values())
    check_nothing_lost(path, plan.inputs, count, reasons)
    shared_files = 0
    if config.split.by == "lesion":
        check_lesions_apart(tensors)
        shared_files = count_shared_files(tensors)
    return Dataset(
        skinclf=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: value for name, (_, value) in _asked(config).items()},
        merged=plan.merged,
        inputs=plan.inputs,
        tensors=count,
        shared_files=shared_files,
        rejects=reasons,
        counts=counts,
        files=files,
        reject_files=reject_files(path, written),
        path=path,
    )
