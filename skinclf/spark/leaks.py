"""What a test set and the images that a model has seen have in common."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import Broadcast
from pyspark.sql import SparkSession

from skinclf.archives.same_lesion import SameLesions
from skinclf.spark.file_tasks import divided, run_tasks
from skinclf.spark.splits import TRAIN, VAL
from skinclf.spark.versions import parallelism
from skinclf.spec.image import pixels_array
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.likeness import likeness
from skinclf.spec.tables import LIKENESS, TENSORS
from skinclf.storage.parquet_files import column_names, iter_batches, iter_tables
from skinclf.system.text import harmless_cell

KEYS = ("lesion_id", "image_id", "digest")
"""Two images that agree in one of these are no independent witnesses."""

LISTED = "listed_lesion"
"""The key of images that are of one lesion by a list alone."""

NEAR_BITS = 4
"""Of 64: only images whose perceptual hashes differ in so many bits at most are looked at."""

NEAR_LEVELS = 4.0
"""Of 255: the mean difference of two thumbnails below which two images are called near duplicates.
Of HAM10000's 2,500 pairs of different lesions with like hashes none is nearer (the nearest: 4.9);
another JPEG quality or size of one photograph stays below 2."""

MOST_PAIRS = 100_000
"""Of images that look alike: more are all of one kind, and nobody reads them."""

TESTED_AT_A_TIME, SEEN_AT_A_TIME = 16_384, 16_384
"""Images whose likeness is held: 21 MB each. Every tested one is compared with every seen one."""

COMPARED_AT_A_TIME = 256
"""Tested images whose hashes are compared with those of SEEN_AT_A_TIME at once, in 34 MB."""

PAIRS_AT_A_TIME = 4_096
"""Whose thumbnails are compared at once, in 30 MB."""

PIXELS_AT_A_TIME = 512

SIGNATURES = pa.schema([TENSORS.field(name) for name in (*KEYS, *LIKENESS)])
PAIRS = pa.schema(
    [("image_id", pa.string()), ("training_image_id", pa.string()), ("difference", pa.float32())]
)
SHARED = pa.schema([("image_id", pa.string()), ("key", pa.string()), ("value", pa.string())])
FOUND = pa.schema([*PAIRS, *(SHARED.field(name) for name in ("key", "value"))])
"""What a task returns: a row is one of PAIRS, or a key that tested and seen images share."""


class Leaks(NamedTuple):
    """What tested and seen images have in common."""

    shared: pa.Table  # SHARED: tested images that have a lesion, an id or a file of a seen one
    pairs: pa.Table  # PAIRS that look alike, and how many gray levels they differ in the mean


def seen_splits(*, outside: bool) -> tuple[str, ...]:
    """The splits whose images a tested set may not share: the one trained on and, for a set from
    outside, validation, too, on which thresholds and temperature are chosen.

    A split of the dataset shares with validation what `split.by` lets it share.
    """
    return (TRAIN, VAL) if outside else (TRAIN,)


def find_leaks(
    spark: SparkSession,
    tested: Sequence[str],
    seen: Sequence[str],
    image: ImageSpec,
    groups: Sequence[Sequence[str]] = (),
) -> Leaks:
    """Compare the tensors in the files `tested` with those in the files `seen`. `groups`: images or
    lesions that are one lesion (`archive.same_lesion`), where not both sets were joined by them.

    Each tested image is compared with each seen one: 64 bits and a number, of which a core compares
    some hundred million pairs a second. Thumbnails are compared where these are alike. Of more than
    MOST_PAIRS pairs the nearest are returned.
    """
    tasks = divided(seen, parallelism(spark))
    shared, pairs = [shared_groups(spark, groups, tested, seen)], [PAIRS.empty_table()]
    for some in _signatures(tested, image, TESTED_AT_A_TIME):
        sent = spark.sparkContext.broadcast(some)
        compared = run_tasks(spark, tasks, partial(_compared, sent, image))
        sent.destroy()
        found = pa.concat_tables([FOUND.empty_table(), *compared])
        are_keys = found["key"].is_valid()
        shared.append(_images_with(some, found.filter(are_keys).select(["key", "value"])))
        pairs.append(_nearest(found.filter(pc.invert(are_keys)).select(PAIRS.names)))
    return Leaks(
        pa.concat_tables(shared).sort_by([(name, "ascending") for name in SHARED.names]),
        _nearest(pa.concat_tables(pairs)),
    )


def _compared(
    tested: Broadcast[pa.Table], image: ImageSpec, files: Iterable[str]
) -> Iterator[pa.Table]:
    """FOUND of the images in `files` and the tested ones."""
    for seen in _signatures(files, image, SEEN_AT_A_TIME):
        for found in (near_pairs(tested.value, seen), shared_values(tested.value, seen)):
            columns = [
                found[name] if name in found.schema.names else pa.nulls(len(found), field.type)
                for name, field in zip(FOUND.names, FOUND, strict=True)
            ]
            yield pa.table(columns, schema=FOUND)


def shared_values(tested: pa.Table, seen: pa.Table) -> pa.Table:
    """Two tables of SIGNATURES → `key` and `value`, once each, of what stands in both."""
    found = []
    for key in KEYS:
        ours = tested[key].combine_chunks().drop_null()
        if key == "image_id":  # paths: two archives may both have a folder mel with a file 1.jpg
            ours = ours.filter(pc.invert(pc.match_substring(ours, "/")))
        values = seen[key].filter(pc.is_in(seen[key], value_set=ours)).unique()
        found.append(pa.table({"key": pa.array([key] * len(values), pa.string()), "value": values}))
    return pa.concat_tables(found)


def shared_groups(
    spark: SparkSession,
    groups: Sequence[Sequence[str]],
    tested: Sequence[str],
    seen: Sequence[str],
) -> pa.Table:
    """SHARED, with the key `listed_lesion`: tested images that `groups` say show the lesion of a
    seen one, whose id is the `value`.
    """
    same = SameLesions(groups)
    listed = pa.array({member for group in groups for member in group}, pa.string())

    def members(files: Sequence[str]) -> Iterator[dict[str, str]]:
        """`image_id`, and its `member` of a group, of each image that is listed, itself or by its
        lesion.
        """
        tasks = divided(files, parallelism(spark)) if len(listed) else []
        for table in run_tasks(spark, tasks, partial(_members, listed)):
            yield from table.to_pylist()

    theirs = {same.group_of(row["member"]): row["member"] for row in members(seen)}
    found = {  # once each: an image may be listed by itself and by its lesion
        row["image_id"]: theirs[group]
        for row in members(tested)
        if (group := same.group_of(row["member"])) in theirs
    }
    rows = [{"image_id": name, "key": LISTED, "value": value} for name, value in found.items()]
    return pa.Table.from_pylist(rows, schema=SHARED)


def _members(listed: pa.Array, files: Iterable[str]) -> Iterator[pa.Table]:
    """`image_id` and `member` of the images whose image_id or lesion_id is `listed`. Where
    image_ids are paths, a list may name files without folders.
    """
    for file in files:
        for rows in iter_tables(file, ("image_id", "lesion_id")):
            images = rows["image_id"]
            paths = rows.filter(pc.match_substring(images, "/"))["image_id"]
            files_alone = pc.replace_substring_regex(paths, "^.*/", "")
            for ids, members in (
                (images, images),
                (images, rows["lesion_id"]),
                (paths, files_alone),
            ):
                named = pa.table({"image_id": ids, "member": members})
                yield named.filter(pc.is_in(members, value_set=listed))


def near_pairs(tested: pa.Table, seen: pa.Table) -> pa.Table:
    """Two tables of SIGNATURES → PAIRS of those that look alike."""
    hashes, levels = (seen[name].to_numpy() for name in ("perceptual_hash", "brightness"))
    seen_thumbnails = _thumbnails(seen)
    found = [PAIRS.empty_table()]
    for start in range(0, len(tested), COMPARED_AT_A_TIME):
        part = tested.slice(start, COMPARED_AT_A_TIME)
        differing = part["perceptual_hash"].to_numpy()[:, None] ^ hashes
        bits = np.bitwise_count(differing.view(np.uint64))  # of signed numbers, it drops the sign
        levels_apart = np.abs(part["brightness"].to_numpy()[:, None] - levels)
        alike = np.nonzero((bits <= NEAR_BITS) & (levels_apart < NEAR_LEVELS))
        thumbnails = _thumbnails(part)
        for place in range(0, len(alike[0]), PAIRS_AT_A_TIME):
            ours, theirs = (places[place : place + PAIRS_AT_A_TIME] for places in alike)
            apart = thumbnails[ours].astype(np.int16) - seen_thumbnails[theirs]
            difference = np.abs(apart).mean(1, np.float32)
            near = difference < NEAR_LEVELS
            columns = [
                part["image_id"].take(pa.array(ours[near])),
                seen["image_id"].take(pa.array(theirs[near])),
                pa.array(difference[near]),
            ]
            found.append(pa.table(columns, schema=PAIRS))
        found = [_nearest(pa.concat_tables(found))]
    return found[0]


def csv_of(pairs: pa.Table) -> str:
    """Pairs of images, and how near they are (PAIRS or NEIGHBORS), as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(pairs.schema.names)
    for *ids, nearness in zip(*pairs.to_pydict().values(), strict=True):
        writer.writerow([*map(harmless_cell, ids), f"{nearness:.3f}"])
    return text.getvalue()


def _signatures(files: Iterable[str], image: ImageSpec, rows: int) -> Iterator[pa.Table]:
    """SIGNATURES of files of TENSORS, `rows` at a time but for the last."""
    waiting: list[pa.Table] = []
    for file in files:
        for part in _signatures_of(file, image, rows):
            waiting.append(part)
            while sum(map(len, waiting)) >= rows:
                table = pa.concat_tables(waiting)
                yield table.slice(0, rows)
                waiting = [table.slice(rows)]
    if any(map(len, waiting)):
        yield pa.concat_tables(waiting)


def _signatures_of(file: str, image: ImageSpec, rows: int) -> Iterator[pa.Table]:
    """Those of one file; made from the pixels where a dataset of format 1 has none."""
    if set(LIKENESS) <= set(column_names(file)):
        for batch in iter_batches(file, SIGNATURES.names, rows):
            yield pa.Table.from_batches([batch]).select(SIGNATURES.names).cast(SIGNATURES)
        return
    for batch in iter_batches(file, [*KEYS, "pixels"], PIXELS_AT_A_TIME):
        found = [likeness(pixels_array(pixels, image)) for pixels in batch["pixels"].to_pylist()]
        columns = {key: batch[key] for key in KEYS}
        columns |= {
            name: pa.array([getattr(one, name) for one in found], SIGNATURES.field(name).type)
            for name in LIKENESS
        }
        yield pa.table(columns, schema=SIGNATURES)


def _thumbnails(signatures: pa.Table) -> NDArray[np.uint8]:
    """(n, bytes) of the pictures in short."""
    pictures = b"".join(signatures["thumbnail"].to_pylist())
    return np.frombuffer(pictures, np.uint8).reshape(len(signatures), -1)


def _images_with(tested: pa.Table, values: pa.Table) -> pa.Table:
    """SHARED of the tested images that have one of these keys and values."""
    found = []
    for key in KEYS:
        wanted = values.filter(pc.equal(values["key"], key))["value"].combine_chunks()
        ours = tested.filter(pc.is_in(tested[key], value_set=wanted.drop_null()))
        keys = pa.array([key] * len(ours), pa.string())
        found.append(pa.table([ours["image_id"], keys, ours[key]], schema=SHARED))
    return pa.concat_tables(found)


def _nearest(pairs: pa.Table) -> pa.Table:
    """At most MOST_PAIRS of PAIRS, the most alike first."""
    order = [("difference", "ascending"), ("image_id", "ascending")]
    return pairs.sort_by([*order, ("training_image_id", "ascending")]).slice(0, MOST_PAIRS)
