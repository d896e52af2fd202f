"""The README's example, run as it is there, on generated images under HAM10000's names."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from skinclf.testing.archive import METADATA, ZIPS, make_archive
from tests.support.documentation import README, blocks_of

pytestmark = pytest.mark.faults

NAMES = ("HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip", "HAM10000_metadata.tab")


def test_the_readme_s_five_commands_run(tmp_path: Path) -> None:
    make_archive(tmp_path / "made", 120)
    for made, name in zip((*ZIPS, METADATA), NAMES, strict=True):
        shutil.move(tmp_path / "made" / made, tmp_path / name)
    shutil.copy(tmp_path / NAMES[0], tmp_path / "new_images.zip")
    (example,) = (block for block in blocks_of(README, "sh") if "skinclf prepare" in block)
    activation = ". .venv/bin/activate\n"
    assert example.startswith(activation)
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", example.removeprefix(activation)],
        cwd=tmp_path,
        env=os.environ | {"PATH": tools},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("dataset/exploration/exploration.html", "runs/first/evaluation/test/report.html"):
        assert (tmp_path / page).exists()
    assert list(tmp_path.glob("scores/*/scores/*.parquet"))
