"""A driver that is killed before and after it has written to its table."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.images import jpeg
from tests.support.score_tables import delta_settings


@pytest.mark.parametrize(
    ("form", "kills"),
    [
        # Nothing is written to it: the files that a job commits are the table's.
        pytest.param("parquet", ["commit"], marks=pytest.mark.faults, id="parquet"),
        pytest.param("delta", ["commit", "write"], marks=pytest.mark.delta, id="delta"),
    ],
)
def test_a_driver_killed_before_and_after_it_wrote_a_table_loses_and_doubles_nothing(
    form: str, kills: list[str], tmp_path: Path
) -> None:
    if form == "delta":
        delta_settings()
    (tmp_path / "archive").mkdir()
    for number in range(7):
        (tmp_path / "archive" / f"IMG_{number}.jpg").write_bytes(jpeg((number * 30, 90, 80)))
    (tmp_path / "archive" / "broken.jpg").write_bytes(b"broken")
    command = [sys.executable, "-m", "tests.support.table_job", str(tmp_path), form]
    for step in kills:
        killed = subprocess.run([*command, step], capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-5000:]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row[1] for row in found["table"]] == [f"IMG_{number}" for number in range(7)]
    assert found["table"] == found["folder"]
