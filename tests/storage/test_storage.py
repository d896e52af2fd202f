"""Folders on S3: a real S3 server in this process, read and written through pyarrow."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs
from rich.console import Console

from skinclf.config.schema import TrainConfig
from skinclf.errors import UnknownStorage, UsageError
from skinclf.stages.train import train
from skinclf.storage import files as storage
from skinclf.storage.attempt import begin_attempt
from skinclf.storage.checkpoint_folder import CheckpointFolder, checkpoint_names
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import (
    absolute,
    beside,
    delete,
    exists,
    hadoop_path,
    join,
    list_names,
    local_path,
    locate,
    parent,
    read_json,
    read_text,
    uri,
    write_text,
)
from skinclf.storage.ownership import RECORD, Owner, check_free
from skinclf.storage.run_folder import RunFolder
from skinclf.storage.score_view import read_rejects, read_scores, score_files
from tests.support.pipeline import pipeline_config, weights
from tests.support.s3 import s3_of_the_environment
from tests.support.score_job import EXPECTED, Job

BUCKET = "s3://photographs"


@pytest.mark.parametrize(
    ("with_extra", "told"), [(True, "not in core-site.xml"), (False, r"skinclf\[hdfs\]")]
)
def test_a_name_service_that_nobody_knows_is_no_fault_that_passes(
    monkeypatch: pytest.MonkeyPatch, *, with_extra: bool, told: str
) -> None:
    monkeypatch.setattr("skinclf.storage.hdfs.is_installed", lambda: with_extra)
    with pytest.raises(UnknownStorage, match=told):
        locate("hdfs://nowhere/images")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3_of_the_environment(patch):
        yield BUCKET


def test_a_file_is_on_the_disk_under_a_random_name_before_it_gets_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a crash can leave an empty checkpoint; two containers' processes may share an id."""
    synced: list[Path] = []
    monkeypatch.setattr(storage, "_sync", lambda path: synced.append(Path(path)))
    for _ in range(2):
        write_text(str(tmp_path / "a.npz"), "content")
    write_text(str(tmp_path / "a.npz"), "content", durable=False)
    first, folder, second, _ = synced
    assert folder == tmp_path
    assert first != second
    assert all(storage.TEMPORARY.fullmatch(path.name) for path in (first, second))
    assert list_names(str(tmp_path)) == ["a.npz"]


def test_files_are_written_whole_listed_and_deleted(bucket: str) -> None:
    folder = f"{bucket}/some/run"
    write_text(join(folder, "a.txt"), "first")
    write_text(join(folder, "a.txt"), "second")
    write_text(join(folder, "inner", "b.txt"), "x")
    assert read_text(join(folder, "a.txt")) == "second"
    assert list_names(folder) == ["a.txt", "inner"]  # no temporary name is left
    assert exists(join(folder, "inner"))
    delete(folder)
    assert not exists(join(folder, "a.txt"))
    assert list_names(folder) == []
    with pytest.raises(FileNotFoundError):
        read_text(join(folder, "a.txt"))


def test_scores_are_committed_merged_and_replaced(bucket: str) -> None:
    folder = f"{bucket}/scores/model"
    Job(folder).run()
    rows = read_scores(folder).to_pylist() + read_rejects(folder).to_pylist()
    assert len(rows) == len(EXPECTED)
    assert {row["source"]: row["image_id"] for row in rows} == EXPECTED
    assert len(list_names(join(folder, "scores"))) == len(score_files(folder)) == 1
    assert len(list_names(join(folder, "manifests"))) == 2


def test_checkpoints_are_kept_and_removed(bucket: str) -> None:
    run = f"{bucket}/kept"
    history = [{"epoch": float(n), "val_loss": 1.0 / n} for n in (1, 2, 3)]
    begin_attempt(run, "one")
    folder = CheckpointFolder(run, "one")
    for count in (1, 2, 3):
        content = str(count).encode()
        folder.write(content, history[:count], 0, TrainConfig(keep_checkpoints=1))
    assert [str(name) for name in checkpoint_names(run)] == ["epoch-0003-one.npz"]


def test_spark_and_pyarrow_each_have_their_name_for_s3(bucket: str) -> None:
    assert hadoop_path("s3://b/x") == hadoop_path("s3a://b/x") == "s3a://b/x"
    assert locate("s3a://photographs/x")[1] == locate("s3://photographs/x")[1] == "photographs/x"


def test_an_owner_whose_record_is_just_replaced_is_not_overlooked(bucket: str) -> None:
    """On storage that has to delete a file before it renames another to its name, such as HDFS."""
    folder = f"{bucket}/owned"
    write_text(f"{folder}/tensors/part", "")

    times = iter(range(1000, 1100))

    def renewed(_seconds: float) -> None:
        since = "2026-11-01T12:04:00+00:00"
        owner = Owner("t", "prepare", "node-3", 4711, "", since, float(next(times)))
        write_text(f"{folder}/{RECORD}", json.dumps(owner._asdict()))

    with pytest.raises(UsageError, match="node-3, process 4711"):
        check_free(folder, wait=renewed)


def test_a_json_file_that_is_replaced_while_it_is_read_is_read_again(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat, say: pyarrow asks for the size, then for that many bytes of another file."""
    path = f"{bucket}/replaced.json"
    write_text(path, '{"step": 9}')
    s3, inner = locate(path)
    with s3.open_input_file(inner) as file:
        write_text(path, '{"step": 10}')
        cut = file.read().decode()
    assert cut == '{"step": 10'
    answers = [cut, cut, '{"step": 10}']
    monkeypatch.setattr(storage, "read_text", lambda path: answers.pop(0))
    assert read_json(path) == {"step": 10}


def test_a_run_with_dataset_and_run_folder_on_s3_is_the_local_one(
    bucket: str, trained: Path, tmp_path: Path
) -> None:
    """The same model, bit by bit, as from local folders."""
    s3, _ = locate(bucket)
    fs.copy_files(str(trained / "dataset"), "photographs/dataset", destination_filesystem=s3)
    settings = [f"dataset.path={bucket}/dataset", f"run.path={bucket}/runs/first"]
    train(pipeline_config(trained, *settings), Console(quiet=True))
    assert (
        RunFolder(f"{bucket}/runs/first").read_dataset().same_as(Dataset.read(f"{trained}/dataset"))
    )
    fs.copy_files("photographs/runs/first", str(tmp_path / "run"), source_filesystem=s3)
    assert np.array_equal(weights(tmp_path / "run"), weights(trained / "run"))
    assert "not a medical device" in (tmp_path / "run" / "model_card.md").read_text()


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_and_folders_have_the_rights_that_the_user_grants(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(str(tmp_path / "run" / "labels.json"), "{}")
        with storage.new_file(str(tmp_path / "run" / "part.parquet")) as file:
            file.write(b"x")
    finally:
        os.umask(before)
    folder = tmp_path / "run"
    rights = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    files = 0o666 & ~mask
    assert rights == {"run": 0o777 & ~mask, "labels.json": files, "part.parquet": files}


@pytest.mark.parametrize("options", ["", "?endpoint_override=127.0.0.1:9000&scheme=http"])
def test_names_are_of_the_path_and_not_of_its_options(options: str) -> None:
    run = RunFolder(f"s3://bucket/runs/first/{options}")
    assert run.name == "first"
    assert run.evaluation("test").name == "test"
    assert parent(run.model) == f"s3://bucket/runs/first{options}"
    assert beside(run.path, "-by-image") == f"s3://bucket/runs/first-by-image{options}"


def test_spark_reads_paths_of_other_storage_as_pyarrow_does() -> None:
    assert hadoop_path("hdfs://nn/data/my%20set") == "hdfs://nn/data/my set"
    assert hadoop_path("gs://b/my%20set?retry_limit_seconds=3") == "gs://b/my set"


@pytest.mark.parametrize("local", ["file:/data/a%20b", "file:///data/a%20b", "/data/a b"])
def test_a_local_path_has_one_uri(local: str) -> None:
    assert uri(local) == "file:///data/a%20b"
    assert local_path(absolute(local)) == "/data/a b"
