"""What a test set and the training images have in common."""

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.spark.splits import TRAIN, VAL
from skinclf.spec.image import pixels_array
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.likeness import likeness
from skinclf.spec.tables import LIKENESS, TENSORS

KEYS = ("lesion_id", "image_id", "digest")
"""Two images that agree in one of these are no independent witnesses."""

NEAR_BITS = 4
"""Of 64: only images whose perceptual hashes differ in so many bits at most are looked at."""

NEAR_LEVELS = 4.0
"""Of 255: the mean difference of two thumbnails below which two images are called near duplicates.
Of HAM10000's 2,500 pairs of different lesions with like hashes none is nearer (the nearest: 4.9);
another JPEG quality or size of one photograph stays below 2."""

PARTS = [sum(1 << bit for bit in range(part, 64, NEAR_BITS + 2)) for part in range(NEAR_BITS + 2)]
MASKS = [one | other for one, other in combinations(PARTS, 2)]
"""Of 6 parts of a hash, 4 bits that differ leave 2 alike: one of these 15 pairs of parts, of some
21 bits, is equal. Neighbouring bits depend on each other, so a part takes every sixth."""

HASHES = pa.schema([("image_id", pa.string()), *(TENSORS.field(name) for name in LIKENESS)])
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
    found = [
        tested.where(F.col(key).isNotNull())
        .join(training.select(key).distinct(), key, "left_semi")
        .select("image_id", F.lit(key).alias("key"), F.col(key).alias("value"))
        for key in KEYS
    ]
    return found[0].unionByName(found[1]).unionByName(found[2])


def near_duplicates(tested: DataFrame, training: DataFrame, image: ImageSpec) -> DataFrame:
    """PAIRS that look alike, with the mean `difference` of their thumbnails in grey levels.

    Only images that agree in one of MASKS and are about as bright are looked at, and their
    thumbnails only where the whole hashes are alike: of HAM10000's pairs one of 1,500 is looked
    at, instead of one of thirty with five parts of 13 bits.
    """
    left, right = (_hashes(images, image).persist() for images in (tested, training))
    theirs = {name: f"training_{name}" for name in HASHES.names}
    differing = F.col("perceptual_hash").bitwiseXOR(F.col("training_perceptual_hash"))
    bits = F.bit_count(differing)
    alike = (
        _keys(left, neighbours=1)
        .join(_keys(right, neighbours=0).withColumnsRenamed(theirs), "key")
        .where(bits <= NEAR_BITS)
        .select("image_id", "training_image_id")
        .distinct()
    )
    candidates = alike.join(left, "image_id").join(
        right.withColumnsRenamed(theirs), "training_image_id"
    )
    pairs = candidates.mapInArrow(_compared, from_arrow_schema(PAIRS))
    return pairs.where(F.col("difference") < NEAR_LEVELS)


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


def _keys(hashes: DataFrame, neighbours: int) -> DataFrame:
    """image_id, perceptual_hash and, a row each, the `key`s that images have to share to be
    looked at.

    A key is one of MASKS's bits and a step of brightness, NEAR_LEVELS wide. Thumbnails that differ
    by less in the mean have means of one step or of two neighbouring ones: one side of the join
    has rows for the `neighbours` on both sides as well.
    """
    step = F.floor(F.col("brightness") / NEAR_LEVELS)
    keys = [
        F.struct(
            F.lit(place).alias("mask"),
            F.col("perceptual_hash").bitwiseAND(F.lit(_signed(mask))).alias("bits"),
            (step + away).alias("step"),
        )
        for place, mask in enumerate(MASKS)
        for away in range(-neighbours, neighbours + 1)
    ]
    return hashes.select("image_id", "perceptual_hash", F.explode(F.array(*keys)).alias("key"))


def _signed(bits: int) -> int:
    """64 bits as the number that Spark takes for them."""
    return bits - (1 << 64) if bits >> 63 else bits
