"""A scoring that is killed at many random moments: each image once at the end."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_manifest import read_manifest
from tests.support.cluster import below, python_workers
from tests.support.images import jpeg, write_zip
from tests.support.pipeline import pipeline_assignments

pytestmark = pytest.mark.faults

IMAGES, BROKEN, BATCH = 600, 16, 10
"""Sixty micro-batches: kills come in all of them, and few are left after the last one."""

DRIVER_KILLS, WORKER_KILLS = 5, 15
"""A driver's costs a new start, a worker's an import of TensorFlow."""

PATIENCE = 3000
"""Seconds; far more than a loaded machine takes."""


def count_done(scores: Path) -> int:
    """How many images have a committed outcome."""
    return sum(read_manifest(ScoreFolder(str(folder))).done for folder in scores.glob("*"))


def kill_tree(driver: int) -> None:
    """The driver and its JVM, as when a machine loses power; its Python workers end by it."""
    for pid in [*below(driver, "java"), driver]:
        os.kill(pid, signal.SIGKILL)


def test_twenty_kills_of_driver_and_workers_lose_and_double_nothing(
    trained: Path, tmp_path: Path
) -> None:
    chance = random.Random(2020)
    archive = tmp_path / "archive"
    archive.mkdir()
    images = {f"IMG_{n:04}.jpg": jpeg((n % 256, n // 3, 90), (120, 90)) for n in range(IMAGES)}
    broken = {f"NO_{n:02}.jpg": b"broken" for n in range(BROKEN)}
    names = list(images)
    write_zip(archive / "a.zip", {n: images[n] for n in names[: IMAGES // 2]} | broken)
    for name in names[IMAGES // 2 :]:
        (archive / name).write_bytes(images[name])
    settings = [
        *pipeline_assignments(trained),
        *(f"score.archive={archive}", f"score.output={tmp_path / 'scores'}"),
        f"score.micro_batch_images={BATCH}",
    ]
    command = ["skinclf", "score", *(word for s in settings for word in ("--set", s))]
    log = (tmp_path / "log").open("ab")
    kills = ["driver"] * DRIVER_KILLS + ["worker"] * WORKER_KILLS
    chance.shuffle(kills)
    deadline = time.monotonic() + PATIENCE
    process = subprocess.Popen(command, stdout=log, stderr=log)
    while kills:
        # A kill comes at any moment of a micro-batch, but not before one is done: with kills
        # faster than a start, nothing could ever be done.
        reached = count_done(tmp_path / "scores")
        while process.poll() is None and count_done(tmp_path / "scores") == reached:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-5000:]
            time.sleep(0.1)
        time.sleep(chance.uniform(0, 2))
        if process.poll() is not None:  # all was scored: then a part is to be scored again
            assert process.returncode == 0, (tmp_path / "log").read_text()[-5000:]
            for path in chance.sample(sorted(archive.glob("*.jpg")), 6 * BATCH):
                path.touch()
            process = subprocess.Popen(command, stdout=log, stderr=log)
        elif kills[-1] == "driver":
            kill_tree(process.pid)
            process.wait()
            kills.pop()
            process = subprocess.Popen(command, stdout=log, stderr=log)
        elif workers := python_workers(process.pid):
            os.kill(chance.choice(workers), signal.SIGKILL)
            kills.pop()
    assert process.wait(timeout=PATIENCE) == 0, (tmp_path / "log").read_text()[-5000:]

    (folder,) = (tmp_path / "scores").iterdir()
    scores = pq.read_table(folder / "scores", columns=["image_id"])["image_id"].to_pylist()
    rejects = pq.read_table(folder / "rejects", columns=["image_id"])["image_id"].to_pylist()
    assert sorted(scores) == sorted(Path(name).stem for name in images)
    assert sorted(rejects) == sorted(Path(name).stem for name in broken)
    assert (folder / "summary.json").exists()
