from itertools import pairwise
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from skinclf.archives.labelled import LabelledArchive
from skinclf.config.schema import FOLDERS, ArchiveConfig, MetadataConfig, SplitConfig
from skinclf.spark import plan as planning
from skinclf.spark.caching import kept_frames
from skinclf.spark.plan import PART, plan_archive
from skinclf.spec.taxonomy import HAM10000


def test_each_part_has_images_from_all_over_a_sorted_archive(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder for each class, as many archives have. Neighbors are read one after the other."""
    monkeypatch.setattr(planning, "ROWS_A_PART", 30)
    monkeypatch.setattr(planning, "ROWS_A_BLOCK", 5)
    for code in ("bcc", "mel", "nv"):
        (tmp_path / "archive" / code).mkdir(parents=True)
        for number in range(30):
            (tmp_path / "archive" / code / f"{number:02}.jpg").write_bytes(b"not read here")
    archive = ArchiveConfig(paths=(str(tmp_path / "archive"),), metadata=FOLDERS)
    labelled = LabelledArchive(archive, MetadataConfig(), HAM10000)
    output, staging = str(tmp_path / "dataset"), str(tmp_path / "staging")
    with kept_frames() as keep:
        plan = plan_archive(spark, labelled, SplitConfig(), output, staging, keep)
        rows = plan.rows.select(PART, "dx", "image_id").collect()
    parts: dict[int, list[tuple[str, str]]] = {}
    for part, dx, image_id in rows:
        parts.setdefault(part, []).append((dx, image_id))
    assert [len(part) for part in parts.values()] == [30, 30, 30]
    for part in parts.values():
        codes = [dx for dx, _ in part]
        assert [codes.count(code) for code in ("bcc", "mel", "nv")] == [10, 10, 10]
        numbers = [int(Path(image_id).name) for _, image_id in part]
        assert all(n + 1 == after for n, after in pairwise(numbers) if after % 5)
