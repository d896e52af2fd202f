"""Ctrl-C and SIGTERM in the middle of each job: one line, and nothing is left."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from tests.support.images import jpeg
from tests.support.pipeline import pipeline_assignments
from tests.support.training import until

pytestmark = pytest.mark.faults

CASES = {
    # job: (its signal, to whom, what it has said by then, settings)
    "prepare": (signal.SIGINT, os.killpg, "listed", ()),
    "train": (
        signal.SIGTERM,
        os.kill,
        "epoch   2",
        ("train.slots=2", "train.local_mode=false", "train.epochs=500"),
    ),
    "evaluate": (signal.SIGINT, os.killpg, "Spark 4", ("evaluate.bootstrap_samples=100000",)),
    "score": (signal.SIGINT, os.killpg, "inputs are new", ()),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than any job is through with when it is interrupted."""
    folder = tmp_path_factory.mktemp("images")
    rows = ["lesion_id,image_id,dx"]
    for n in range(3000):
        (folder / f"ISIC_{n:04}.jpg").write_bytes(photograph(n % 256))
        rows.append(f"L{n},ISIC_{n:04},nv")
    (folder.parent / f"{folder.name}.csv").write_text("\n".join(rows))
    return folder


@cache
def photograph(red: int) -> bytes:
    return jpeg((red, 9, 9), (600, 450))


@pytest.mark.parametrize("job", CASES)
def test_an_interrupted_job_says_one_line_and_leaves_nothing(
    trained: Path, images: Path, tmp_path: Path, job: str
) -> None:
    number, send, said, more = CASES[job]
    settings = [
        *pipeline_assignments(trained),
        *more,
        *(f'{key}="{images}"' for key in ("archive.paths", "score.archive")),
        f"score.output={tmp_path / 'scores'}",
    ]
    if job == "prepare":
        settings.append(f"dataset.path={tmp_path / 'dataset'}")
        settings.append(f"archive.metadata={images}.csv")
    else:  # a run of its own, which the job may write to
        settings.append(f"run.path={tmp_path / 'run'}")
        if job != "train":
            shutil.copytree(trained / "run", tmp_path / "run")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = (word for setting in settings for word in ("--set", setting))
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["skinclf", job, *words],
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=os.environ
            | {"TMPDIR": str(temporary), "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={temporary}"},
        )
    until(lambda: said in log.read_text() or process.poll() is not None, log.read_text)
    time.sleep(1)  # into whatever it does then: any moment has to do
    before = log.read_text()
    send(process.pid, number)
    until(lambda: process.poll() is not None, log.read_text)
    assert process.returncode == 128 + number
    lines = log.read_text()[len(before) :].splitlines()
    assert lines[-1] == "Interrupted. Rerun the same command."
    assert [line for line in lines[:-1] if not line.startswith("epoch")] == []
    until(lambda: not session_of(process.pid), log.read_text)
    until(lambda: not [f for f in temporary.rglob("*") if f.is_file()], log.read_text)
    assert not list(tmp_path.rglob("owner.json"))


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_a_job_that_is_interrupted_while_spark_starts_leaves_no_jvm(
    trained: Path, tmp_path: Path, seconds: float
) -> None:
    """The JVM does not hear Ctrl-C: the process that starts it ends it."""
    words = [word for setting in pipeline_assignments(trained) for word in ("--set", setting)]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["skinclf", "explore", *words], stdout=output, stderr=output, start_new_session=True
        )
    until(lambda: len(session_of(process.pid)) > 1 or process.poll() is not None, log.read_text)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    until(lambda: process.poll() is not None, log.read_text)
    assert process.returncode == 128 + signal.SIGINT
    said = [line for line in log.read_text().splitlines() if not line.startswith("WARNING: Using")]
    assert said[-1] == "Interrupted. Rerun the same command."
    assert [line for line in said[:-1] if not re.search("Spark 4|Spark starts", line)] == []
    until(lambda: not session_of(process.pid), log.read_text)


def session_of(leader: int) -> list[str]:
    """The living processes that the job's process started, and itself."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(process.name)
    return found
