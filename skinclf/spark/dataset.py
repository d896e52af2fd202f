"""What was written, counted and checked by reading it back."""

import logging
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from skinclf.errors import ArchiveChanged, CheckError, QualityError
from skinclf.spark.splits import SPLITS
from skinclf.spec.tables import REJECTS as REJECTS_SCHEMA
from skinclf.storage.dataset_folder import REJECTS, RejectFile, TensorFile
from skinclf.storage.files import join, write_table
from skinclf.storage.parquet_files import count_values
from skinclf.storage.part_files import Written
from skinclf.system.text import printable

log = logging.getLogger(__name__)


def class_counts(tensors: DataFrame, written: Sequence[Written]) -> dict[str, dict[str, int]]:
    """split → diagnosis → images, of rows that were read back with `split` and `file`.

    Raises CheckError where a file has other rows than its task says.
    """
    counts: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    # In two queries: of many classes in many files, each with each is more than a driver holds.
    for row in tensors.groupBy("split", "dx").count().orderBy("dx").collect():
        counts[row["split"]][row["dx"]] = row["count"]
    found = {row["file"]: row["count"] for row in tensors.groupBy("file").count().collect()}
    for file in written:
        if file.split is not None and found.get(file.name) != file.rows:
            raise CheckError(
                f"{file.path}: {found.get(file.name, 0)} rows are there, and "
                f"its task wrote {file.rows}; no dataset.json was written. Run it again"
            )
    return counts


def reject_counts(folder: str, written: Sequence[Written]) -> dict[str, int]:
    """reason → rejects in the files that were written, sorted by reason."""
    paths = [join(folder, file.path) for file in written if file.split is None]
    return dict(sorted(count_values(paths, "reason").items()))


def tensor_files(written: Sequence[Written]) -> list[TensorFile]:
    """The files of tensors, as dataset.json names them."""
    return [
        TensorFile(path=file.path, split=file.split, rows=file.rows)
        for file in written
        if file.split is not None
    ]


def reject_files(folder: str, written: Sequence[Written]) -> list[RejectFile]:
    """The files of rejects, as dataset.json names them: one without rows where there are none,
    so that whoever reads the folder finds a table.
    """
    files = [RejectFile(path=f.path, rows=f.rows) for f in written if f.split is None]
    if not files:
        files = [RejectFile(path=f"{REJECTS}/none.parquet", rows=0)]
        write_table(REJECTS_SCHEMA.empty_table(), join(folder, files[0].path))
    return files


def check_unchanged(place: str, archive: Sequence[str], rejects: dict[str, int]) -> None:
    """Raise ArchiveChanged where a file of `archive` was rewritten while it was read: of those
    images some are missing.
    """
    if "changed" in rejects:
        raise ArchiveChanged(
            f"{', '.join(archive)}: rewritten while it was read, so {place} is not finished. Rerun "
            f"the same command"
        )


MANY_IMAGES = 50
"""Photographs of one lesion. In HAM10000 a lesion has 6 of them at most."""

UNKNOWN_CLASSES = (
    ". Are the diagnoses in the metadata those of the classes? [metadata.labels] translates them"
)


def check_nothing_lost(place: str, inputs: int, tensors: int, rejects: dict[str, int]) -> None:
    """Raise CheckError unless every input is a tensor or a reject, QualityError unless some are
    tensors.
    """
    rejected = sum(rejects.values())
    if inputs != tensors + rejected:
        raise CheckError(
            f"{place}: {inputs} inputs but {tensors} tensors + {rejected} rejects = "
            f"{tensors + rejected}: rows were lost or doubled. Did the archive change while it "
            f"was read? Run it again"
        )
    if tensors == 0:
        reasons = ", ".join(f"{count} {reason}" for reason, count in rejects.items())
        raise QualityError(
            f"{place}: none of {inputs} inputs became a tensor ({reasons}); "
            f"{join(place, REJECTS)} names them"
            f"{UNKNOWN_CLASSES if 'unknown_dx' in rejects else ''}"
        )


def count_shared_files(tensors: DataFrame) -> int:
    """How many files are in train and in test, as images of two lesions: evaluation refuses that,
    which is after the training. So a warning is logged.
    """
    by_file = tensors.where("split IN ('train', 'test')").groupBy("digest")
    shared = by_file.agg(
        F.count_distinct("split").alias("splits"),
        F.concat_ws(" and ", F.min("image_id"), F.max("image_id")).alias("pair"),
    ).where("splits = 2")
    (found,) = shared.agg(F.count("*"), F.min("pair")).collect()
    if found[0]:
        log.warning(
            "the training and the test images have files in common, in number: %s, such as those "
            "of %s. evaluate will refuse this dataset. If they show one lesion, name it in "
            "archive.same_lesion",
            f"{found[0]:,}",
            printable(found[1]),
        )
    return int(found[0])


def check_lesions_apart(tensors: DataFrame) -> None:
    """Raise CheckError, naming some, where photographs of a lesion are in two splits. Warn of a
    lesion with so many photographs that its id may be a word for unknown.
    """
    lesions = tensors.where("lesion_id IS NOT NULL").groupBy("lesion_id")
    counted = lesions.agg(F.count_distinct("split").alias("splits"), F.count("*").alias("images"))
    order = (F.desc("splits"), F.desc("images"), "lesion_id")
    first = counted.orderBy(*order).limit(5).collect()
    offenders = [row["lesion_id"] for row in first if row["splits"] > 1]
    if offenders:
        raise CheckError(
            f"lesions in more than one split: {', '.join(offenders)} …; the test set would show "
            f"lesions that were trained on, so no dataset.json was written"
        )
    if first and first[0]["images"] > MANY_IMAGES:
        log.warning(
            "%s images have the lesion_id %s: all of them are in one split. If that is a word for "
            "an unknown lesion, leave the field empty",
            f"{first[0]['images']:,}",
            printable(first[0]["lesion_id"]),
        )
