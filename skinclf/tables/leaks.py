"""What a test set and the training images have in common."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.schemas import CHANNELS, HEIGHT, WIDTH

KEYS = ("lesion_id", "image_id", "digest")
"""Two images that agree in one of these are no independent witnesses."""

NEAR_BITS = 4
"""Of 64: perceptual hashes that differ in so many bits at most are called near duplicates."""

HASHES = pa.schema([("image_id", pa.string()), ("hash", pa.int64())])


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
    """Pairs that look alike: `image_id`, `training_image_id`, `bits` that differ (0–NEAR_BITS).

    Of two hashes that differ in at most 4 of 64 bits, one of five parts is equal: only images
    that agree in a part are compared, so that no training set is too large for it.
    """
    left, right = (_parts(_hashed(images)) for images in (tested, training))
    bits = F.bit_count(F.col("hash").bitwiseXOR(F.col("training_hash")))
    return (
        left.join(
            right.withColumnsRenamed({"image_id": "training_image_id", "hash": "training_hash"}),
            "part",
        )
        .withColumn("bits", bits)
        .where(F.col("bits") <= NEAR_BITS)
        .select("image_id", "training_image_id", "bits")
        .distinct()
    )


def perceptual_hash(pixels: bytes) -> int:
    """A signed 64-bit number of 22,500 bytes: each bit says whether the picture, shrunk to 9 x 8
    grey values, grows brighter from one place to the next (difference hash).

    Another size, quality or file format of the same picture changes few bits.
    """
    array: NDArray[np.uint8] = np.frombuffer(pixels, np.uint8).reshape(HEIGHT, WIDTH, CHANNELS)
    small = Image.fromarray(array).convert("L").resize((9, 8), Image.Resampling.BOX)
    grey = np.asarray(small, np.int16)
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    return int(bits.view(">i8")[0])


def _hashed(images: DataFrame) -> DataFrame:
    def hashed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            hashes = [perceptual_hash(pixels.as_py()) for pixels in batch["pixels"]]
            columns = [batch["image_id"], pa.array(hashes, pa.int64())]
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
