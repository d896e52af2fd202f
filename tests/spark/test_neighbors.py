from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from skinclf.spark import neighbors
from skinclf.spark.neighbors import NEIGHBORS, nearest_seen
from skinclf.spec.image_spec import ImageSpec

IMAGE = ImageSpec(height=16, width=16)


@dataclass(frozen=True)
class Corners:
    """Embeds an image as its first pixels."""

    def load(self, threads: int) -> Callable[[np.ndarray], np.ndarray]:
        """(n, height, width, 3) uint8 → (n, 6) float32."""
        return lambda pixels: pixels.reshape(len(pixels), -1)[:, :6].astype(np.float32)


def written(folder: Path, name: str, pixels: np.ndarray, files: int) -> list[str]:
    """Images in `files` files: the tensors' columns that are read here."""
    rows = [
        {"image_id": f"{name}-{n}", "pixels": image.tobytes()} for n, image in enumerate(pixels)
    ]
    paths = [str(folder / f"{name}-{file}.parquet") for file in range(files)]
    for file, path in enumerate(paths):
        pq.write_table(pa.Table.from_pylist(rows[file::files]), path)
    return paths


def directions(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("most_tested", [5, 2])
def test_each_tested_image_has_the_nearest_of_all_seen_ones(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_tested: int
) -> None:
    monkeypatch.setattr(neighbors, "MOST_TESTED", most_tested)
    random = np.random.default_rng(1)
    tested, seen = (random.integers(0, 256, (n, *IMAGE.shape), np.uint8) for n in (5, 40))
    seen[33] = tested[2]
    files = written(tmp_path, "tested", tested, 1), written(tmp_path, "seen", seen, 3)
    found = nearest_seen(spark, files[0], files[1], Corners(), IMAGE, 7)
    assert found.schema == NEIGHBORS
    assert found.to_pylist()[0] == {
        "image_id": "tested-2",
        "training_image_id": "seen-33",
        "similarity": np.float32(found["similarity"][0].as_py()),
    }
    assert np.isclose(found["similarity"][0].as_py(), 1)
    ours, theirs = (rows.reshape(len(rows), -1)[:, :6].astype(float) for rows in (tested, seen))
    cosines = directions(ours - ours.mean(axis=0)) @ directions(theirs - ours.mean(axis=0)).T
    by_id = {row["image_id"]: row for row in found.to_pylist()}
    for place in range(5):
        row = by_id[f"tested-{place}"]
        assert row["training_image_id"] == f"seen-{cosines[place].argmax()}"
        assert np.isclose(row["similarity"], cosines[place].max(), atol=1e-5)


def test_without_images_there_are_no_neighbors(spark: SparkSession, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    files = written(tmp_path, "a", random.integers(0, 256, (2, *IMAGE.shape), np.uint8), 1)
    for tested, seen in ((files, []), ([], files)):
        found = nearest_seen(spark, tested, seen, Corners(), IMAGE, 7)
        assert found == NEIGHBORS.empty_table()
