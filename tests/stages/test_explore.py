import shutil
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.errors import DatasetError
from skinclf.spark.caching import kept_frames
from skinclf.spark.exploration import explore_tensors
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from skinclf.stages.explore import exploration_figures, explore
from tests.support.pipeline import pipeline_config


def test_images_are_counted_by_category(spark: SparkSession) -> None:
    rows = [
        ("I1", "L1", "nv", "histo", 45.0, "male", "back", bytes([1]) * BENBRAHIM_2020.size_bytes),
        ("I2", "L1", "nv", "histo", 49.0, "male", "back", bytes([2]) * BENBRAHIM_2020.size_bytes),
        ("I3", None, "mel", None, None, "female", None, bytes([3]) * BENBRAHIM_2020.size_bytes),
        ("I4", None, "nv", "histo", 45.0, "male", "back", bytes([4]) * BENBRAHIM_2020.size_bytes),
    ]
    tensors = spark.createDataFrame(
        rows,
        "image_id string, lesion_id string, dx string, dx_type string, age float, sex string, "
        "localization string, pixels binary",
    )
    with kept_frames() as keep:
        exploration = explore_tensors(tensors, HAM10000, BENBRAHIM_2020, keep)
    assert (exploration.images, exploration.lesions) == (4, 3)
    assert exploration.classes == {"mel": 1, "nv": 3}
    assert exploration.dx_types == {"histo": 3, "unknown": 1}
    assert exploration.localizations == {"back": 3, "unknown": 1}
    assert (exploration.ages, exploration.unknown_ages) == ({45: 3}, 1)
    assert exploration.sexes == {"male": 3, "female": 1}
    assert {code: int(p.max()) for code, p in exploration.samples.items()} == {"mel": 3, "nv": 1}
    figures = exploration_figures(exploration)
    assert [name[:3] for name in figures] == ["6-1", "6-2", "6-3", "6-4", "6-5", "6-6"]
    labels = [text.get_text() for text in figures["6-1-classes"].axes[0].texts]
    assert labels == ["1", "3"]
    (mel, _) = figures["6-6-samples"].axes
    shown = np.asarray(mel.images[0].get_array())
    assert np.array_equal(shown, exploration.samples["mel"])


def test_all_classes_are_counted_however_many_there_are(spark: SparkSession) -> None:
    codes = tuple(f"class{n}" for n in range(35))
    taxonomy = Taxonomy(codes=codes, majority="class0", screened="")
    pixels = bytes(BENBRAHIM_2020.size_bytes)
    rows = [(code, code, code, "x", 45.0, "x", code, pixels) for code in codes]
    columns = "image_id string, lesion_id string, dx string, dx_type string, age float, "
    tensors = spark.createDataFrame(
        rows, columns + "sex string, localization string, pixels binary"
    )
    with kept_frames() as keep:
        exploration = explore_tensors(tensors, taxonomy, BENBRAHIM_2020, keep)
    assert exploration.classes == dict.fromkeys(codes, 1)
    assert exploration.localizations["5 others"] == 5


def test_the_page_holds_its_six_figures(prepared: Path, tmp_path: Path) -> None:
    """Written by the job, which the demo runs too; here its content is read."""
    shutil.copytree(prepared / "dataset", tmp_path / "dataset")
    config = pipeline_config(prepared, f"dataset.path={tmp_path / 'dataset'}")
    page = Path(explore(config, Console(quiet=True)))
    assert page.read_text().count("data:image/png;base64,") == 6
    assert len(list(page.parent.glob("*.png"))) == 6
    next((tmp_path / "dataset" / "tensors").rglob("*.parquet")).unlink()
    with pytest.raises(DatasetError, match="files are missing"):
        explore(config, Console(quiet=True))
