"""What a test set and the training images have in common."""

import csv
import io
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.spark.caching import Keep
from skinclf.spark.splits import TRAIN, VAL
from skinclf.spec.image import pixels_array
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.likeness import likeness
from skinclf.spec.tables import LIKENESS, TENSORS
from skinclf.system.text import harmless_cell

KEYS = ("lesion_id", "image_id", "digest")
"""Two images that agree in one of these are no independent witnesses."""

NEAR_BITS = 4
"""Of 64: only images whose perceptual hashes differ in so many bits at most are looked at."""

NEAR_LEVELS = 4.0
"""Of 255: the mean difference of two thumbnails below which two images are called near duplicates.
Of HAM10000's 2,500 pairs of different lesions with like hashes none is nearer (the nearest: 4.9);
another JPEG quality or size of one photograph stays below 2."""

CHUNK = 16_384
"""Training images that a batch of tested ones is compared with at a time, in 34 MB."""

HASHES = pa.schema([("image_id", pa.string()), *(TENSORS.field(name) for name in LIKENESS)])
CANDIDATES = pa.schema(
    [("image_id", pa.string()), ("thumbnail", pa.binary()), ("training_image_id", pa.string())]
)
PAIRS = pa.schema(
    [("image_id", pa.string()), ("training_image_id", pa.string()), ("difference", pa.float32())]
)


def seen_splits(*, outside: bool) -> tuple[str, ...]:
    """The splits whose images a tested set may not share: the one trained on and, for a set from
    outside, validation, too, on which thresholds and temperature are chosen.

    A split of the dataset shares with validation what `split.by` lets it share.
    """
    return (TRAIN, VAL) if outside else (TRAIN,)


def shared_keys(tested: DataFrame, training: DataFrame) -> DataFrame:
    """`image_id` of each tested image that shares one of KEYS with training, `key` and `value`."""
    pairs = ", ".join(f"'{key}', {key}" for key in KEYS)
    stacked = f"stack({len(KEYS)}, {pairs}) AS (key, value)"
    ours, theirs = tested.selectExpr("image_id", stacked), training.selectExpr(stacked)
    return ours.where("value IS NOT NULL").join(theirs, ["key", "value"], "left_semi")


def near_duplicates(
    tested: DataFrame, training: DataFrame, image: ImageSpec, keep: Keep = DataFrame.persist
) -> DataFrame:
    """PAIRS that look alike, with the mean `difference` of their thumbnails in grey levels.

    Each tested image is compared with each training image, by hash and brightness alone: 64 bits
    and a number, of which a core compares some hundred million pairs a second. Thumbnails are
    compared where these are alike.
    """
    spark = tested.sparkSession
    theirs = keep(_hashes(training, image))
    known = theirs.select("image_id", "perceptual_hash", "brightness").toArrow()
    shared = spark.sparkContext.broadcast(known)

    def alike(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in filter(len, batches):
            yield from alike_by_hash(batch, shared.value)

    candidates = _hashes(tested, image).mapInArrow(alike, from_arrow_schema(CANDIDATES))
    pictures = theirs.select(
        F.col("image_id").alias("training_image_id"),
        F.col("thumbnail").alias("training_thumbnail"),
    )
    both = candidates.join(pictures, "training_image_id")
    pairs = both.mapInArrow(_compared, from_arrow_schema(PAIRS))
    return pairs.where(F.col("difference") < NEAR_LEVELS)


def alike_by_hash(batch: pa.RecordBatch, known: pa.Table) -> Iterator[pa.RecordBatch]:
    """HASHES of tested images and of training images, without thumbnails → CANDIDATES."""
    hashes, levels = (batch[name].to_numpy() for name in ("perceptual_hash", "brightness"))
    for start in range(0, len(known), CHUNK):
        part = known.slice(start, CHUNK)
        differing = hashes[:, None] ^ part["perceptual_hash"].to_numpy()
        bits = np.bitwise_count(differing.view(np.uint64))  # of signed numbers, it drops the sign
        apart = np.abs(levels[:, None] - part["brightness"].to_numpy())
        ours, theirs = np.nonzero((bits <= NEAR_BITS) & (apart < NEAR_LEVELS))
        if len(ours):
            columns = [
                batch["image_id"].take(pa.array(ours)),
                batch["thumbnail"].take(pa.array(ours)),
                part["image_id"].take(pa.array(theirs)).combine_chunks(),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=CANDIDATES)


def csv_of(pairs: Iterable[Row]) -> str:
    """PAIRS as CSV, the most alike first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PAIRS.names)
    for pair in sorted(pairs, key=lambda pair: (pair["difference"], *pair[:2])):
        writer.writerow([*map(harmless_cell, pair[:2]), f"{pair['difference']:.3f}"])
    return text.getvalue()


def _compared(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Candidates → PAIRS."""
    for batch in filter(len, batches):
        one, other = (
            np.stack([np.frombuffer(picture, np.uint8) for picture in batch[name].to_pylist()])
            for name in ("thumbnail", "training_thumbnail")
        )
        difference = np.abs(one.astype(np.int16) - other).mean(axis=1)
        columns = [batch["image_id"], batch["training_image_id"], pa.array(difference, "float")]
        yield pa.RecordBatch.from_arrays(columns, schema=PAIRS)


def _hashes(images: DataFrame, image: ImageSpec) -> DataFrame:
    """HASHES of TENSORS; made from the pixels where a dataset of format 1 has none."""

    def hashed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in filter(len, batches):
            found = [likeness(pixels_array(p, image)) for p in batch["pixels"].to_pylist()]
            columns = dict(zip(LIKENESS, zip(*found, strict=True), strict=True))
            columns["image_id"] = batch["image_id"]
            yield pa.RecordBatch.from_pydict(columns, schema=HASHES)

    if set(LIKENESS) <= set(images.columns):
        return images.select(*HASHES.names)
    return images.select("image_id", "pixels").mapInArrow(hashed, from_arrow_schema(HASHES))
