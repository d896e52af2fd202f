"""A disk that fails a training: told at once with its cause, and gone on with once it is mended.

In local mode, since nothing here depends on where the training runs.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from skinclf.errors import SkinclfError
from skinclf.stages.train import train
from skinclf.storage.dataset_folder import Dataset
from tests.support.pipeline import pipeline_config, weights

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("spark")]

QUIET = Console(quiet=True)


def restarts(run: Path) -> list[str]:
    file = run / "restarts.jsonl"
    return file.read_text().splitlines() if file.exists() else []


def test_a_damaged_shard_fails_at_once_with_its_name(prepared: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "dataset"
    shutil.copytree(prepared / "dataset", damaged)
    file = damaged / Dataset.read(str(damaged)).files_of("train")[-1].path
    file.write_bytes(file.read_bytes()[:-1000])
    settings = (f"dataset.path={damaged}", f"run.path={tmp_path / 'run'}")
    with pytest.raises(SkinclfError, match=rf"{file.name}: can't be read"):
        train(pipeline_config(prepared, *settings), QUIET)
    assert restarts(tmp_path / "run") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own: a few of the 9.5 MB checkpoints fit."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=25m", "none", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"needs leave to mount a file system: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def test_a_disk_that_is_full_and_then_has_room(
    prepared: Path, small_disk: Path, tmp_path: Path
) -> None:
    """The run ends with the weights of one whose disk always had room."""
    settings = ("train.epochs=5", "train.dropout=0.5", "train.keep_checkpoints=5")
    whole, run = tmp_path / "whole", small_disk / "run"
    train(pipeline_config(prepared, f"run.path={whole}", *settings), QUIET)
    config = pipeline_config(prepared, f"run.path={run}", *settings)
    with pytest.raises(SkinclfError, match=r"can't be written.*No space left on device"):
        train(config, QUIET)
    assert restarts(run) == []
    remount(small_disk, "size=200m")
    history = train(config, QUIET)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
    assert np.array_equal(weights(run), weights(whole))


def test_a_run_folder_that_may_not_be_written(prepared: Path, small_disk: Path) -> None:
    remount(small_disk, "ro")
    with pytest.raises(SkinclfError, match="Read-only file system"):
        train(pipeline_config(prepared, f"run.path={small_disk / 'run'}"), QUIET)
