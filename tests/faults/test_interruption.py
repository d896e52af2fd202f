"""Ctrl-C and SIGTERM in the middle of each job: one line, and nothing is left."""

import os
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

pytestmark = pytest.mark.faults

TIMEOUT_SECONDS = 600
"""Far more than a loaded machine takes for anything that a test waits for."""

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
    for n in range(3000):
        (folder / f"ISIC_{n:04}.jpg").write_bytes(photograph(n % 256))
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
    else:  # a run of its own, which the job may write to
        settings.append(f"run.path={tmp_path / 'run'}")
        if job != "train":
            shutil.copytree(trained / "run", tmp_path / "run")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = (word for setting in settings for word in ("--set", setting))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["skinclf", job, *words],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ
            | {"TMPDIR": str(temporary), "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={temporary}"},
        )
    wait_for(lambda: said in told(tmp_path) or process.poll() is not None, tmp_path)
    time.sleep(1)  # into whatever it does then: any moment has to do
    before = told(tmp_path)
    send(process.pid, number)
    wait_for(lambda: process.poll() is not None, tmp_path)
    assert process.returncode == 128 + number
    lines = told(tmp_path)[len(before) :].splitlines()
    assert lines[-1] == "Interrupted. Rerun the same command to resume."
    assert [line for line in lines[:-1] if not line.startswith("epoch")] == []
    wait_for(lambda: not session_of(process.pid), tmp_path)
    wait_for(lambda: not [f for f in temporary.rglob("*") if f.is_file()], tmp_path)
    assert not list(tmp_path.rglob("owner.json"))


def told(folder: Path) -> str:
    return (folder / "log").read_text()


def session_of(leader: int) -> list[str]:
    """The living processes that the job's process started, and itself."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(process.name)
    return found


def wait_for(condition: object, folder: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, told(folder)
        time.sleep(0.1)
