"""What a test set and the training images have in common."""

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.spec.image import pixels_array
from skinclf.spec.image_spec import ImageSpec

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

THUMBNAIL = (24, 18)
"""Width x height; RGB."""

HASHES = pa.schema(
    [
        ("image_id", pa.string()),
        ("hash", pa.int64()),
        ("brightness", pa.float64()),  # the thumbnail's mean, 0–255
        ("thumbnail", pa.binary()),
    ]
)
PAIRS = pa.schema(
    [("image_id", pa.string()), ("training_image_id", pa.string()), ("difference", pa.float32())]
)


def seen_images(tensors: DataFrame, *, outside: bool) -> DataFrame:
    """The images that a tested set may not share: those trained on and, for a set from outside, the
    validation images, too, on which thresholds and temperature are chosen.

    A split of the dataset shares with validation what `split.by` lets it share.
    """
    return tensors.where(F.col("split").isin("train", *(["val"] if outside else [])))


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
    left, right = _hashed(tested, image).persist(), _hashed(training, image).persist()
    theirs = {name: f"training_{name}" for name in HASHES.names}
    bits = F.bit_count(F.col("hash").bitwiseXOR(F.col("training_hash")))
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


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """A signed 64-bit number of an image: each bit says whether the picture, shrunk to 9 x 8 grey
    values, grows brighter from one place to the next (difference hash).

    Another size, quality or file format of the same picture changes few bits.
    """
    grey = np.asarray(_shrunk(pixels, (9, 8), "L"), np.int16)
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    return int(bits.view(">i8")[0])


def _shrunk(pixels: NDArray[np.uint8], size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    return Image.fromarray(pixels).convert(mode).resize(size, Image.Resampling.BOX)


def _hashed(images: DataFrame, image: ImageSpec) -> DataFrame:
    def hashed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            files = [pixels_array(pixels, image) for pixels in batch["pixels"].to_pylist()]
            hashes = pa.array([perceptual_hash(pixels) for pixels in files], pa.int64())
            small = [_shrunk(pixels, THUMBNAIL) for pixels in files]
            means = pa.array([float(np.asarray(picture).mean()) for picture in small], pa.float64())
            thumbnails = pa.array([picture.tobytes() for picture in small], pa.binary())
            columns = [batch["image_id"], hashes, means, thumbnails]
            yield pa.RecordBatch.from_arrays(columns, schema=HASHES)

    return images.select("image_id", "pixels").mapInArrow(hashed, from_arrow_schema(HASHES))


def _keys(hashes: DataFrame, neighbours: int) -> DataFrame:
    """image_id, hash and, a row each, the `key`s that images have to share to be looked at.

    A key is one of MASKS's bits and a step of brightness, NEAR_LEVELS wide. Thumbnails that differ
    by less in the mean have means of one step or of two neighbouring ones: one side of the join
    has rows for the `neighbours` on both sides as well.
    """
    step = F.floor(F.col("brightness") / NEAR_LEVELS)
    keys = [
        F.struct(
            F.lit(place).alias("mask"),
            F.col("hash").bitwiseAND(F.lit(_signed(mask))).alias("bits"),
            (step + away).alias("step"),
        )
        for place, mask in enumerate(MASKS)
        for away in range(-neighbours, neighbours + 1)
    ]
    return hashes.select("image_id", "hash", F.explode(F.array(*keys)).alias("key"))


def _signed(bits: int) -> int:
    """64 bits as the number that Spark takes for them."""
    return bits - (1 << 64) if bits >> 63 else bits
