"""Jobs on a real server of Spark Connect, in a process of its own; long, for its start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skinclf.config.schema import SparkConfig
from skinclf.errors import ConfigError
from skinclf.spark.session import spark_session
from skinclf.storage.score_view import read_rejects, read_scores
from skinclf.testing.archive import METADATA, ZIPS
from tests.support.images import jpeg, write_zip

pytestmark = pytest.mark.faults


def test_with_scores_and_score_run_and_other_stages_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(9):
        (archive / f"{number}.jpg").write_bytes(jpeg((number * 20, 90, 80)))
    (archive / "broken.jpg").write_bytes(b"no image")
    for name in ZIPS:
        write_zip(archive / name, {f"{name}.jpg": jpeg((1, 2, 3))})
    (archive / METADATA).write_text("lesion_id,image_id,dx,dx_type,age,sex,localization\n")
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [sys.executable, "-m", "tests.support.connected", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["has a SparkContext"] is False
    (predicted, nothing), (unknown, reason) = found["with_scores"]
    assert predicted
    assert nothing is None
    assert unknown is None
    assert reason.startswith("unreadable")
    for reader in ("pyarrow", "spark"):
        first, second = found[reader]
        assert second["new"] == 1
        assert second["inputs"] == first["inputs"] + 1 == second["scored"] + len(rejects(second))
        ids = read_scores(second["path"])["image_id"].to_pylist()
        assert len(ids) == len(set(ids)) == second["scored"] == found[f"table by {reader}"]
        assert (Path(second["path"]) / "scores.csv").exists()
    assert "does not run on Spark Connect" in found["prepare"]
    assert "\n" not in found["prepare"]


def rejects(summary: dict[str, str]) -> list[str]:
    return list(read_rejects(summary["path"])["image_id"].to_pylist())


@pytest.mark.usefixtures("own_session")
def test_training_is_refused_before_anything_starts() -> None:
    with (
        pytest.raises(ConfigError, match="train does not run on Spark Connect"),
        spark_session("train", SparkConfig(master="sc://nobody.example.org:15002")),
    ):
        pass
