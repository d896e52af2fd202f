"""All stages on S3 alone: Python by pyarrow, Spark by Hadoop's s3a, with requests that fail."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from skinclf.archives import list_images
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import list_names, read_bytes, read_json, read_text
from skinclf.storage.score_view import read_rejects, read_scores
from skinclf.testing.archive import METADATA, ZIPS, make_archive
from tests.support.cluster import python_workers
from tests.support.images import jpeg
from tests.support.s3 import S3A_JARS, SECRET, S3Server, s3_of_the_environment
from tests.support.training import until

pytestmark = pytest.mark.faults

ROOT = "s3://photographs"
EVERY = 41
"""Requests from one that fails to the next: a prime, so that all kinds of requests fail."""


class Commands:
    """Commands that run one after the other in a process with a Spark session."""

    def __init__(self, log: Path, *settings: str) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.commands", *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
        )

    def begin(self, *command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def finish(self) -> None:
        assert self._process.stdout
        assert self._process.stdout.readline().strip() == "0", self.told()[-5000:]

    def run(self, *command: str) -> None:
        self.begin(*command)
        self.finish()

    def python_workers(self) -> list[int]:
        return python_workers(self._process.pid)

    def told(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    if not S3A_JARS.exists():
        pytest.skip("needs Spark's connector: make .tools/s3a")
    with s3_of_the_environment(monkeypatch) as server:
        yield server


@contextmanager
def commands(log: Path) -> Iterator[Commands]:
    session = Commands(
        log,
        *("spark.master=local[2,4]", "spark.driver_memory=1g"),
        f"spark.conf.spark.driver.extraClassPath={S3A_JARS}/*",
    )
    try:
        yield session
    finally:
        session.end()


def settings(*more: str) -> list[str]:
    assignments = [
        f'archive.paths=["{ROOT}/archive/{ZIPS[0]}","{ROOT}/archive/{ZIPS[1]}"]',
        f"archive.metadata={ROOT}/archive/{METADATA}",
        *(f"dataset.path={ROOT}/dataset", "dataset.shards=4"),
        *(f"run.path={ROOT}/runs/first", f"score.output={ROOT}/scores"),
        *("train.epochs=3", "train.global_batch_size=32", "train.slots=2"),
        *("train.local_mode=false", "evaluate.bootstrap_samples=20"),
        *more,
    ]
    return [word for one in assignments for word in ("--set", one)]


def history() -> list[dict[str, Any]]:
    try:
        return [
            json.loads(line) for line in read_text(f"{ROOT}/runs/first/history.jsonl").splitlines()
        ]
    except FileNotFoundError:
        return []


def put(name: str, content: bytes) -> None:
    file_system, bucket = fs.FileSystem.from_uri(ROOT)
    with file_system.open_output_stream(f"{bucket}/{name}") as file:
        file.write(content)


def everything_written() -> dict[str, bytes]:
    """The content of every object but the archive's."""
    file_system, bucket = fs.FileSystem.from_uri(ROOT)
    found = file_system.get_file_info(fs.FileSelector(bucket, recursive=True))
    names = [info.path for info in found if info.type == fs.FileType.File]
    return {name: read_bytes(f"s3://{name}") for name in names if "/archive/" not in name}


def test_all_stages_where_requests_fail_a_worker_is_killed_and_the_archive_grows(
    server: S3Server, tmp_path: Path
) -> None:
    make_archive(tmp_path / "archive", 120)
    for file in (tmp_path / "archive").iterdir():
        put(f"archive/{file.name}", file.read_bytes())
    for number in range(30):
        put(f"archive/more/IMG {number}.jpg", jpeg((number, 90, 100)))
    numbers = count(1)

    def fault(_method: str, _path: str) -> str | None:
        number = next(numbers)
        return ("busy", "reset", "lost")[number // EVERY % 3] if number % EVERY == 0 else None

    server.fault = fault
    with commands(tmp_path / "log") as session:
        session.run("prepare", *settings())
        dataset = Dataset.read(f"{ROOT}/dataset")
        assert dataset.tensors + sum(dataset.rejects.values()) == dataset.inputs

        session.begin("train", *settings())
        until(lambda: len(history()) >= 1, session.told)
        os.kill(session.python_workers()[-1], signal.SIGKILL)
        session.finish()
        assert [row["epoch"] for row in history()] == [1, 2, 3]
        assert len(read_text(f"{ROOT}/runs/first/restarts.jsonl").splitlines()) >= 1

        session.run("evaluate", *settings())
        assert read_json(f"{ROOT}/runs/first/evaluation/test/metrics.json")

        archive = [f"{ROOT}/archive/{ZIPS[0]}", f"{ROOT}/archive/more"]
        small = (f"score.archive={json.dumps(archive)}", "score.micro_batch_images=45")
        session.run("score", *settings(*small))
        put("archive/more/new.jpg", jpeg((1, 2, 3)))
        put("archive/more/broken.jpg", b"no image")
        session.run("score", *settings(*small, "score.format=csv"))
        told = session.told()

    (model,) = list_names(f"{ROOT}/scores")
    folder = f"{ROOT}/scores/{model}"
    found = [
        *read_scores(folder)["source"].to_pylist(),
        *read_rejects(folder)["source"].to_pylist(),
    ]
    server.fault = lambda *_: None
    assert sorted(found) == sorted(list_images(archive)["source"].to_pylist())
    assert read_rejects(folder)["image_id"].to_pylist() == ["broken"]
    assert len(read_text(f"{folder}/scores.csv").splitlines()) == len(found)  # with its header
    assert {name.split()[1] for name in server.faults} == {"busy", "reset", "lost"}

    assert SECRET not in told
    for name, content in everything_written().items():
        assert SECRET.encode() not in content, name
