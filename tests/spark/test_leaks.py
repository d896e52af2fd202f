import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyspark.sql import Row, SparkSession

from skinclf.spark import leaks
from skinclf.spark.leaks import (
    HASHES,
    alike_by_hash,
    csv_of,
    near_duplicates,
    seen_splits,
    shared_keys,
)
from skinclf.spec.image import decode_rgb
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.likeness import perceptual_hash

RANDOM = np.random.default_rng(3)


def picture() -> Image.Image:
    """A blurred field of random colours, 300 x 225."""
    small = Image.fromarray(RANDOM.integers(0, 256, (5, 7, 3), np.uint8))
    return small.resize((300, 225), Image.Resampling.BICUBIC)


def tensor(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return decode_rgb(buffer.getvalue(), max_pixels=10**6).tobytes()


def test_images_that_share_a_lesion_an_id_or_a_file_are_found(spark: SparkSession) -> None:
    columns = "image_id string, lesion_id string, digest string"
    training = spark.createDataFrame([("I1", "L1", "d1"), ("I2", None, "d2")], columns)
    tested = spark.createDataFrame(
        [("I1", "L9", "d9"), ("I3", "L1", "d3"), ("I4", None, "d2"), ("I5", None, "d5")], columns
    )
    found = {(row.image_id, row.key, row.value) for row in shared_keys(tested, training).collect()}
    assert found == {("I1", "image_id", "I1"), ("I3", "lesion_id", "L1"), ("I4", "digest", "d2")}


def test_a_set_from_outside_may_not_share_validation_images_either() -> None:
    """Its thresholds and temperature are chosen on them."""
    assert seen_splits(outside=True) == ("train", "val")
    assert seen_splits(outside=False) == ("train",)


def test_another_quality_or_size_of_a_picture_is_a_near_duplicate(spark: SparkSession) -> None:
    pictures = [picture() for _ in range(20)]
    columns = "image_id string, pixels binary"
    training = spark.createDataFrame(
        [(f"T{n}", bytearray(tensor(image, quality=95))) for n, image in enumerate(pictures)],
        columns,
    )
    copies = [
        ("worse", tensor(pictures[3], quality=40)),
        ("smaller", tensor(pictures[5].resize((150, 112)), quality=90)),
        ("other", tensor(picture(), quality=95)),
        ("mirrored", tensor(pictures[7].transpose(Image.Transpose.FLIP_LEFT_RIGHT))),
    ]
    tested = spark.createDataFrame([(name, bytearray(pixels)) for name, pixels in copies], columns)
    rows = near_duplicates(tested, training, BENBRAHIM_2020).collect()
    assert {(row.image_id, row.training_image_id) for row in rows} == {
        ("worse", "T3"),
        ("smaller", "T5"),
    }
    assert all(0 <= row.difference < 2 for row in rows)


def test_a_hash_says_where_a_picture_grows_brighter() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 100).astype(np.uint8)[None, :, None], (75, 100, 3))
    assert perceptual_hash(ramp) == -1  # all 64 bits
    assert perceptual_hash(ramp[:, ::-1]) == 0


def hashes(rows: list[tuple[str, int, float]]) -> pa.Table:
    columns = [dict(zip(HASHES.names, (*row, b""), strict=True)) for row in rows]
    return pa.Table.from_pylist(columns, schema=HASHES)


def test_hashes_of_few_other_bits_and_like_brightness_are_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaks, "CHUNK", 2)
    known = hashes(
        [
            ("same", -5, 100.0),
            ("four bits", -5 ^ 0b1111, 103.9),
            ("five bits", -5 ^ 0b11111, 100.0),
            ("darker", -5, 96.0),
            ("first bit", -5 ^ -(2**63), 96.1),
        ]
    )
    tested = hashes([("a", -5, 100.0), ("far", 77, 100.0)]).to_batches()[0]
    found = [row for batch in alike_by_hash(tested, known) for row in batch.to_pylist()]
    assert [row["image_id"] for row in found] == ["a"] * 3
    assert [row["training_image_id"] for row in found] == ["same", "four bits", "first bit"]


def test_pairs_are_listed_by_difference_and_harmless_in_a_spreadsheet() -> None:
    rows = [Row(image_id="b", training_image_id="=x", difference=2.0)]
    rows += [Row(image_id="a", training_image_id="c", difference=0.5)]
    assert csv_of(rows) == "image_id,training_image_id,difference\na,c,0.500\nb,'=x,2.000\n"
