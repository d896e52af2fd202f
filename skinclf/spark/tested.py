"""The images of one evaluation: a split of a dataset, or a labelled archive from elsewhere."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.archives.decoding import Decoding
from skinclf.archives.labelled import LabelledArchive
from skinclf.spark.caching import kept_frames
from skinclf.spark.dataset import (
    check_nothing_lost,
    check_unchanged,
    class_counts,
    reject_counts,
    reject_files,
    tensor_files,
)
from skinclf.spark.file_tasks import divided, run_tasks
from skinclf.spark.plan import plan_archive
from skinclf.spark.progress import spark_progress
from skinclf.spark.tensors import read_tensors, write_tensors
from skinclf.spark.versions import parallelism
from skinclf.spec.image_spec import ImageSpec
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.evaluation_folder import EvaluationFolder
from skinclf.storage.files import delete, join, name_of, read_bytes, write_bytes
from skinclf.storage.parquet_files import iter_rows_with


@dataclass(frozen=True)
class TestedImages:
    """Files of TENSORS, and where they come from."""

    files: list[str]
    count: int
    rejects: dict[str, int]  # by reason; of an outside archive
    split_by: str  # SplitConfig.in_words; "" for an outside archive
    reject_files: Sequence[str] = ()  # of an outside archive, until `replace_rejects`
    merged: Mapping[str, str] = field(default_factory=dict)  # of an outside archive: as a Dataset's


def split_images(dataset: Dataset, split: str) -> TestedImages:
    """A split of the dataset."""
    files, split_by = split_files(dataset, split), dataset.split.in_words
    return TestedImages(files, dataset.count(split), {}, split_by)


def split_files(dataset: Dataset, *splits: str) -> list[str]:
    """The files of some splits."""
    return [join(dataset.path, file.path) for split in splits for file in dataset.files_of(split)]


def images_called(
    spark: SparkSession, ids: Sequence[str], files: Sequence[str]
) -> list[dict[str, Any]]:
    """`image_id` and `pixels` of the images in files of TENSORS that have one of `ids`."""
    wanted = pa.array(ids, pa.string())

    def find(some: Iterable[str]) -> Iterator[pa.Table]:
        for file in some:
            yield from iter_rows_with(file, wanted, "image_id", ["image_id", "pixels"])

    tasks = divided(files, parallelism(spark))
    return [row for table in run_tasks(spark, tasks, find) for row in table.to_pylist()]


def outside_images(
    spark: SparkSession,
    labelled: LabelledArchive,
    image: ImageSpec,
    folder: EvaluationFolder,
    console: Console,
) -> TestedImages:
    """Decode and label an archive that is no dataset, in the size that a model reads; what can't be
    used goes to rejects. All of it is in the folder's scratch: an earlier evaluation stays whole.
    """
    place = folder.scratch
    delete(place)
    with spark_progress(spark, "decode images", console), kept_frames() as keep:
        plan = plan_archive(spark, labelled, None, folder.path, place, keep)
        decoding = Decoding(labelled.archive, image=image, digests=True)
        written = write_tensors(plan, decoding, place)
    reasons = reject_counts(place, written)
    check_unchanged(folder.path, labelled.archive.paths, reasons)
    rejects = [join(place, file.path) for file in reject_files(place, written)]
    files = tensor_files(written)
    tensors = read_tensors(spark, place, files)
    count = sum(class_counts(tensors, written)["test"].values())
    if count == 0:  # which ends the evaluation, and names them
        replace_rejects(folder, rejects)
    check_nothing_lost(folder.path, plan.inputs, count, reasons)
    paths = [join(place, file.path) for file in files]
    return TestedImages(paths, count, reasons, "", rejects, plan.merged)


def replace_rejects(folder: EvaluationFolder, files: Sequence[str]) -> None:
    """Give an evaluation these files of rejects instead of those of the one before."""
    delete(folder.rejects)
    for file in files:
        write_bytes(join(folder.rejects, name_of(file)), read_bytes(file))
