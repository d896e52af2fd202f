"""What a test set and the training images have in common."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from PIL import Image
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.image import tensor_array

KEYS = ("lesion_id", "image_id", "digest")
"""Two images that agree in one of these are no independent witnesses."""

NEAR_BITS = 4
"""Of 64: only images whose perceptual hashes differ in so many bits at most are looked at."""

NEAR_LEVELS = 4.0
"""Of 255: the mean difference of two thumbnails below which two images are called near duplicates.
Of HAM10000's 2,500 pairs of different lesions with like hashes none is nearer (the nearest: 4.9);
another JPEG quality or size of one photograph stays below 2."""

THUMBNAIL = (24, 18)
"""Width x height; RGB."""

HASHES = pa.schema([("image_id", pa.string()), ("hash", pa.int64()), ("thumbnail", pa.binary())])
PAIRS = pa.schema(
    [("image_id", pa.string()), ("training_image_id", pa.string()), ("difference", pa.float32())]
)


def shared_keys(tested: DataFrame, training: DataFrame) -> DataFrame:
    """`image_id` of each tested image that shares one of KEYS with training, `key` and `value`."""
    found = [
        tested.where(F.col(key).isNotNull())
        .join(training.select(key).distinct(), key, "left_semi")
        .select("image_id", F.lit(key).alias("key"), F.col(key).alias("value"))
        for key in KEYS
    ]
    return found[0].unionByName(found[1]).unionByName(found[2])


def near_duplicates(tested: DataFrame, training: DataFrame) -> DataFrame:
    """PAIRS that look alike, with the mean `difference` of their thumbnails in grey levels.

    Of two hashes that differ in at most 4 of 64 bits, one of five parts is equal: only images
    that agree in a part are compared, so that no training set is too large for it.
    """
    left, right = (_parts(_hashed(images)) for images in (tested, training))
    theirs = {name: f"training_{name}" for name in HASHES.names}
    bits = F.bit_count(F.col("hash").bitwiseXOR(F.col("training_hash")))
    candidates = left.join(right.withColumnsRenamed(theirs), "part").where(bits <= NEAR_BITS)
    pairs = candidates.mapInArrow(_compared, from_arrow_schema(PAIRS)).distinct()
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


def perceptual_hash(pixels: bytes) -> int:
    """A signed 64-bit number of 22,500 bytes: each bit says whether the picture, shrunk to 9 x 8
    grey values, grows brighter from one place to the next (difference hash).

    Another size, quality or file format of the same picture changes few bits.
    """
    grey = np.asarray(_shrunk(pixels, (9, 8), "L"), np.int16)
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    return int(bits.view(">i8")[0])


def _shrunk(pixels: bytes, size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    image = Image.fromarray(tensor_array(pixels)).convert(mode)
    return image.resize(size, Image.Resampling.BOX)


def _hashed(images: DataFrame) -> DataFrame:
    def hashed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            files = batch["pixels"].to_pylist()
            hashes = pa.array([perceptual_hash(pixels) for pixels in files], pa.int64())
            small = pa.array(
                [_shrunk(pixels, THUMBNAIL).tobytes() for pixels in files], pa.binary()
            )
            columns = [batch["image_id"], hashes, small]
            yield pa.RecordBatch.from_arrays(columns, schema=HASHES)

    return images.select("image_id", "pixels").mapInArrow(hashed, from_arrow_schema(HASHES))


def _parts(hashes: DataFrame) -> DataFrame:
    """Each hash with each of its NEAR_BITS + 1 parts, named by its place."""
    width = -(-64 // (NEAR_BITS + 1))
    parts = [
        F.struct(
            F.lit(n).alias("place"),
            F.shiftrightunsigned("hash", n * width)
            .bitwiseAND(F.lit((1 << width) - 1))
            .alias("bits"),
        )
        for n in range(NEAR_BITS + 1)
    ]
    return hashes.withColumn("part", F.explode(F.array(*parts)))
