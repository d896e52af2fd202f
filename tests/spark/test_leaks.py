import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from skinclf.spark import leaks
from skinclf.spark.leaks import (
    PAIRS,
    SIGNATURES,
    csv_of,
    find_leaks,
    near_pairs,
    seen_splits,
    shared_groups,
)
from skinclf.spec.image import decode_rgb
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.likeness import perceptual_hash

RANDOM = np.random.default_rng(3)


def picture() -> Image.Image:
    """A blurred field of random colors, 300 x 225."""
    small = Image.fromarray(RANDOM.integers(0, 256, (5, 7, 3), np.uint8))
    return small.resize((300, 225), Image.Resampling.BICUBIC)


def tensor(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return decode_rgb(buffer.getvalue(), max_pixels=10**6).tobytes()


def signatures(rows: list[tuple[str, str | None, str, int, float, bytes]]) -> pa.Table:
    """Of (image_id, lesion_id, digest, hash, brightness, thumbnail)."""
    order = ("image_id", "lesion_id", "digest", "perceptual_hash", "brightness", "thumbnail")
    columns = [dict(zip(order, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(columns, schema=SIGNATURES)


def written(folder: Path, tables: list[pa.Table]) -> list[str]:
    """A file a table."""
    files = [str(folder / f"{number}.parquet") for number in range(len(tables))]
    for file, table in zip(files, tables, strict=True):
        pq.write_table(table, file)
    return files


def test_images_that_share_a_lesion_an_id_or_a_file_are_found(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "TESTED_AT_A_TIME", 3)
    monkeypatch.setattr(leaks, "SEEN_AT_A_TIME", 1)
    seen = signatures([("I1", "L1", "d1", 0, 0.0, b"a"), ("I2", None, "d2", 0, 50.0, b"a")])
    tested = signatures(
        [
            ("I1", "L9", "d9", -1, 0.0, b"a"),
            ("I3", "L1", "d3", -1, 0.0, b"a"),
            ("I4", None, "d2", -1, 0.0, b"a"),
            ("I5", None, "d5", -1, 0.0, b"a"),
        ]
    )
    (tmp_path / "seen").mkdir()
    (tmp_path / "tested").mkdir()
    seen_files = written(tmp_path / "seen", [seen.slice(0, 1), seen.slice(1), seen.slice(0, 1)])
    tested_files = written(tmp_path / "tested", [tested.slice(0, 1), tested.slice(1)])
    found = find_leaks(spark, tested_files, seen_files, BENBRAHIM_2020)
    assert [tuple(row.values()) for row in found.shared.to_pylist()] == [
        ("I1", "image_id", "I1"),
        ("I3", "lesion_id", "L1"),
        ("I4", "digest", "d2"),
    ]
    assert len(found.pairs) == 0
    assert find_leaks(spark, tested_files, [], BENBRAHIM_2020).shared.num_rows == 0


def test_images_that_a_list_says_are_of_one_lesion_are_found(
    spark: SparkSession, tmp_path: Path
) -> None:
    """By image or lesion, or both, through an id that is in neither set, and by files whose folders
    are classes: their image_ids are paths.
    """
    ids = [("I1", "L1"), ("I2", "L2"), ("clinic/nv/I3", None)]
    seen = signatures([(*both, f"d{n}", 0, 0.0, b"a") for n, both in enumerate(ids)])
    ids = [*((f"T{n}", f"L9{n}") for n in range(4)), ("other/mel/T5", None), ("T6", None)]
    tested = signatures([(*both, f"d9{n}", 0, 0.0, b"a") for n, both in enumerate(ids)])
    for name in ("seen", "tested"):
        (tmp_path / name).mkdir()
    files = [written(tmp_path / "seen", [seen]), written(tmp_path / "tested", [tested])]
    groups = [["I1", "T0", "L90"], ["L2", "elsewhere"], ["elsewhere", "L91"], ["T2", "T3"]]
    groups += [["I2", "T5"], ["I3", "T6"]]
    found = shared_groups(spark, groups, files[1], files[0])
    assert sorted(tuple(row.values()) for row in found.to_pylist()) == [
        ("T0", "listed_lesion", "I1"),
        ("T1", "listed_lesion", "L2"),
        ("T6", "listed_lesion", "I3"),
        ("other/mel/T5", "listed_lesion", "I2"),
    ]
    assert shared_groups(spark, [], files[1], files[0]).num_rows == 0


def test_ids_that_are_paths_tell_nothing_of_another_archive() -> None:
    seen = signatures([("a/nv/1", None, "d1", 0, 0.0, b"a"), ("I1", None, "d2", 0, 0.0, b"a")])
    tested = signatures([("a/nv/1", None, "d3", 0, 0.0, b"a"), ("I1", None, "d4", 0, 0.0, b"a")])
    assert leaks.shared_values(tested, seen).to_pylist() == [{"key": "image_id", "value": "I1"}]


def test_a_set_from_outside_may_not_share_validation_images_either() -> None:
    """Its thresholds and temperature are chosen on them."""
    assert seen_splits(outside=True) == ("train", "val")
    assert seen_splits(outside=False) == ("train",)


def test_another_quality_or_size_of_a_picture_is_a_near_duplicate(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Of a dataset of format 1, too, which has pixels alone."""
    pictures = [picture() for _ in range(20)]
    copies = {
        "worse": tensor(pictures[3], quality=40),
        "smaller": tensor(pictures[5].resize((150, 112)), quality=90),
        "other": tensor(picture(), quality=95),
        "mirrored": tensor(pictures[7].transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    }
    training = {f"T{n}": tensor(image, quality=95) for n, image in enumerate(pictures)}
    tables = [
        pa.table({"image_id": list(some), "pixels": list(some.values()), "digest": list(some)})
        for some in (training, copies)
    ]
    nothing = [table.append_column("lesion_id", pa.nulls(len(table), "string")) for table in tables]
    seen, tested = written(tmp_path, nothing)
    rows = find_leaks(spark, [tested], [seen], BENBRAHIM_2020).pairs.to_pylist()
    assert {(row["image_id"], row["training_image_id"]) for row in rows} == {
        ("worse", "T3"),
        ("smaller", "T5"),
    }
    assert all(0 <= row["difference"] < 2 for row in rows)


def test_a_hash_says_where_a_picture_grows_brighter() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 100).astype(np.uint8)[None, :, None], (75, 100, 3))
    assert perceptual_hash(ramp) == -1  # all 64 bits
    assert perceptual_hash(ramp[:, ::-1]) == 0


def of_hashes(rows: list[tuple[str, int, float]]) -> pa.Table:
    """With one black thumbnail for all."""
    return signatures([(name, None, name, *rest, bytes(12)) for name, *rest in rows])  # type: ignore[misc]


def test_images_of_like_hashes_and_brightness_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaks, "COMPARED_AT_A_TIME", 1)
    monkeypatch.setattr(leaks, "PAIRS_AT_A_TIME", 2)
    seen = of_hashes(
        [
            ("same", -5, 100.0),
            ("four bits", -5 ^ 0b1111, 103.9),
            ("five bits", -5 ^ 0b11111, 100.0),
            ("darker", -5, 96.0),
            ("first bit", -5 ^ -(2**63), 96.1),
        ]
    )
    tested = of_hashes([("far", 77, 100.0), ("a", -5, 100.0)])
    found = near_pairs(tested, seen).to_pylist()
    assert {row["image_id"] for row in found} == {"a"}
    assert {row["training_image_id"] for row in found} == {"same", "four bits", "first bit"}


def test_of_too_many_pairs_the_nearest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "MOST_PAIRS", 2)
    seen = signatures([(f"T{n}", None, "", 0, 1.0, bytes([n])) for n in (3, 1, 2)])
    tested = signatures([(f"I{n}", None, "", 0, 1.0, bytes(1)) for n in range(2)])
    found = near_pairs(tested, seen).to_pylist()
    assert [tuple(row.values()) for row in found] == [("I0", "T1", 1.0), ("I1", "T1", 1.0)]


def test_pairs_are_listed_harmless_in_a_spreadsheet() -> None:
    rows = [("a", "c", 0.5), ("b", "=x", 2.0)]
    pairs = pa.Table.from_pylist([dict(zip(PAIRS.names, r, strict=True)) for r in rows], PAIRS)
    assert csv_of(pairs) == "image_id,training_image_id,difference\na,c,0.500\nb,'=x,2.000\n"
