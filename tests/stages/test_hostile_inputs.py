"""Whole jobs over inputs that harm: the job ends well, and each input is a row."""

import csv
import json
import os
import shutil
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from skinclf.config.loader import load_config
from skinclf.errors import ArchiveError, CheckError, ConfigError, RunError, StorageUnavailable
from skinclf.spark import score_listing
from skinclf.spark.metadata import Metadata, stage_metadata
from skinclf.spark.plan import plan_archive
from skinclf.stages.evaluate import evaluate
from skinclf.stages.explore import explore
from skinclf.stages.prepare import build
from skinclf.stages.score import score
from skinclf.stages.train import train
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_ledger import ScoreLedger
from skinclf.storage.score_manifest import read_manifest
from skinclf.storage.score_view import read_rejects, read_scores
from tests.support import decoders
from tests.support.decoders import MARKED
from tests.support.images import jpeg, write_zip
from tests.support.pipeline import pipeline_config
from tests.support.scoring import Scoring

QUIET = Console(quiet=True)
HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


@pytest.fixture
def scores(tmp_path: Path) -> Scoring:
    return Scoring(tmp_path, decoders.decode)


def rejected(path: str) -> dict[str, str]:
    """The last part of each reject's source → its reason."""
    rows = pq.read_table(f"{path}/rejects").to_pylist()
    return {row["source"].rpartition("/")[2]: row["reason"] for row in rows}


def prepare_folder(folder: Path, *settings: str, ids: int = 12) -> Dataset:
    """The dataset of folder/archive, decoded by the decoder of these tests."""
    rows = [f"L{n},I{n:02},nv,histo,45,male,back\n" for n in range(ids)]
    if not (folder / "metadata.csv").exists():
        (folder / "metadata.csv").write_text(HEADER + "".join(rows))
    config = load_config(
        None,
        [
            f"archive.paths={json.dumps([str(folder / 'archive')])}",
            f"archive.metadata={json.dumps(str(folder / 'metadata.csv'))}",
            f"dataset.path={json.dumps(str(folder / 'dataset'))}",
            "dataset.shards=2",
            *settings,
        ],
    )
    return build(config, QUIET, decoders.decode)


# Files that end or hold their process


def test_files_that_end_or_hold_a_scoring_are_rejects_and_the_rest_is_scored(
    scores: Scoring,
) -> None:
    scores.write(*range(8))
    for name in ("exit", "segfault", "kill", "sleep"):
        (scores.folder / f"{name}.jpg").write_bytes(MARKED[name])
    write_zip(scores.folder / "a.zip", {"inside.jpg": MARKED["exit"], "well.jpg": jpeg()})
    summary = scores.score("archive.max_decode_seconds=3")
    assert (summary.inputs, summary.scored) == (14, 9)
    crashed = dict.fromkeys(("exit.jpg", "segfault.jpg", "kill.jpg", "inside.jpg"), "crashed")
    assert rejected(summary.path) == crashed | {"sleep.jpg": "timeout"}
    assert scores.score().new == 0  # nothing of it is tried again by itself


def test_files_that_end_a_preparation_are_rejects_and_the_rest_is_prepared(
    tmp_path: Path,
) -> None:
    (tmp_path / "archive").mkdir()
    for n in range(12):
        (tmp_path / "archive" / f"I{n:02}.jpg").write_bytes(jpeg((n, n, n)))
    (tmp_path / "archive" / "I05.jpg").write_bytes(MARKED["segfault"])
    dataset = prepare_folder(tmp_path)
    assert (dataset.inputs, dataset.tensors, dataset.rejects) == (12, 11, {"crashed": 1})


# Storage


def test_a_storage_that_fails_ends_the_job_with_nothing_written(scores: Scoring) -> None:
    """How reading fails and is tried again: tests/archives/test_hostile_archives.py."""
    scores.write(*range(4))
    broken = scores.folder / "IMG_002.jpg"
    broken.write_bytes(MARKED["storage"])
    with pytest.raises(StorageUnavailable, match="Rerun the same command") as caught:
        scores.score()
    assert caught.value.exit_status == 75
    assert not list(scores.folder.parent.glob("scores/*/scores/*"))
    lenient = scores.score("archive.storage_errors=reject")
    assert (lenient.scored, lenient.rejects) == (3, {"storage_error": 1})
    scores.write(2)
    assert scores.score().rejects == {}  # read again by itself


def test_an_archive_that_is_rewritten_between_listing_and_reading_is_listed_again(
    scores: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = scores.folder / "a.zip"
    write_zip(archive, {f"{n}.jpg": jpeg((n, 9, 9)) for n in range(6)})
    list_new = score_listing.list_new

    def then_rewritten(*arguments: Any, **options: Any) -> tuple[int, int]:
        found = list_new(*arguments, **options)
        if found[0] == 6 and not (scores.folder.parent / "once").exists():
            (scores.folder.parent / "once").touch()
            write_zip(archive, {f"{n}.jpg": jpeg((n, 9, 9)) for n in range(7, -1, -1)})
        return found

    monkeypatch.setattr("skinclf.stages.score.list_new", then_rewritten)
    summary = scores.score()
    assert (summary.inputs, summary.scored, summary.rejects) == (8, 8, {})


def test_an_archive_that_is_rewritten_meanwhile_makes_no_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive").mkdir()
    archive = tmp_path / "archive" / "a.zip"
    write_zip(archive, {f"I{n:02}.jpg": jpeg((n, n, n)) for n in range(12)})

    def then_rewritten(*arguments: Any) -> Any:
        found = plan_archive(*arguments)
        time.sleep(0.01)
        write_zip(archive, {f"I{n:02}.jpg": jpeg((n, n, n)) for n in range(12)})
        return found

    monkeypatch.setattr("skinclf.stages.prepare.plan_archive", then_rewritten)
    with pytest.raises(StorageUnavailable, match="rewritten while it was read"):
        prepare_folder(tmp_path)
    monkeypatch.undo()
    assert prepare_folder(tmp_path).tensors == 12


def test_rejects_are_tried_again_where_it_is_asked_for(scores: Scoring) -> None:
    scores.write(1, 2)
    marker = scores.folder.parent / "mended"
    (scores.folder / "crash.jpg").write_bytes(MARKED["mended"] + bytes(marker))
    (scores.folder / "text.jpg").write_bytes(b"text")
    first = scores.score()
    assert first.rejects == {"crashed": 1, "unreadable": 1}
    marker.touch()  # as a decoder that was mended
    assert scores.score().new == 0
    again = scores.score('score.retry_rejects=["crashed"]')
    assert (again.new, again.scored, again.rejects) == (1, 3, {"unreadable": 1})
    assert scores.score("score.retry_rejects=['all']").new == 1
    with pytest.raises(ConfigError, match="wrong is no reason of a reject; known are all, unr"):
        scores.score("score.retry_rejects=['wrong']")


@pytest.mark.parametrize("when", ["add", "replace", "_earlier", "_publish"])
def test_a_scoring_that_ends_while_rejects_are_tried_again_loses_none(
    scores: Scoring, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """After listing, after scoring, while outcomes are replaced, and just after they were."""
    scores.write(1, 2)
    for name in ("a", "b"):
        (scores.folder / f"{name}.jpg").write_bytes(b"text")
    path = scores.score().path

    def end(ledger: ScoreLedger, *_: object, **__: object) -> None:
        if when != "_publish" or ledger.manifest.number > opened[0]:
            raise KeyboardInterrupt

    opened = [read_manifest(ScoreFolder(path)).number]
    monkeypatch.setattr(ScoreLedger, when, end)
    with pytest.raises(KeyboardInterrupt):
        scores.score("score.retry_rejects=['all']")
    monkeypatch.undo()
    assert (read_scores(path).num_rows, read_rejects(path).num_rows) == (2, 2)
    summary = scores.score()
    assert (summary.inputs, summary.scored, summary.rejects) == (4, 2, {"unreadable": 2})
    assert sorted(rejected(path)) == ["a.jpg", "b.jpg"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_any_names_are_each_one_row(scores: Scoring) -> None:
    with zipfile.ZipFile(scores.folder / "a.zip", "w") as archive:
        for n, name in enumerate(("a.jpg", "a.jpg", "a.jpg#2")):
            archive.writestr(name, jpeg((n, n, n)))
    with tarfile.open(scores.folder / "b.tar", "w") as archive:
        for _ in range(2):
            link = tarfile.TarInfo("s.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "x"
            archive.addfile(link)
    summary = scores.score()
    assert (summary.inputs, summary.scored, summary.rejects) == (5, 3, {"not_a_file": 2})
    assert scores.score().new == 0


def test_scoring_the_folder_that_holds_the_scores_settles(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    config = pipeline_config(
        trained, f"score.archive={tmp_path}", f"score.output={tmp_path / 'scores'}"
    )
    assert [score(config, QUIET).inputs for _ in range(2)] == [1, 1]


def test_a_damaged_model_is_told_before_anything_starts(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    model = tmp_path / "run" / "model.keras"
    model.write_bytes(model.read_bytes()[:5000])
    with pytest.raises(RunError, match=r"model\.keras is damaged: File is not a zip file"):
        score(pipeline_config(trained, f"run.path={tmp_path / 'run'}"), QUIET)
    content = bytearray((trained / "run" / "model.keras").read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 77  # a method of compression that nobody has
    model.write_bytes(content)
    with pytest.raises(RunError, match=r"model\.keras is damaged: .*compression"):
        score(pipeline_config(trained, f"run.path={tmp_path / 'run'}"), QUIET)


@pytest.mark.parametrize("path", ["https://host/x.zip", "foo://bar/x"])
def test_paths_on_no_storage_are_told_as_such(scores: Scoring, path: str) -> None:
    with pytest.raises(ArchiveError, match=path):
        scores.score(f"score.archive={path}")


# What has changed


def test_a_file_that_grew_at_the_same_time_is_scored_again(scores: Scoring) -> None:
    scores.write(1, 2)
    scores.score()
    file = scores.folder / "IMG_001.jpg"
    before = file.stat()
    file.write_bytes(jpeg((9, 9, 9), (120, 90)))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    summary = scores.score()
    assert (summary.new, summary.changed, summary.inputs) == (1, 1, 2)


def test_the_content_is_compared_where_it_is_asked_for(scores: Scoring) -> None:
    """A file of the same size and time, with another content."""
    scores.write(1, 2)
    settings = ("score.compare_content=true",)
    scores.score(*settings)
    file = scores.folder / "IMG_001.jpg"
    before, content = file.stat(), file.read_bytes()
    file.write_bytes(content[:-40] + bytes(byte ^ 1 for byte in content[-40:-2]) + content[-2:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert scores.score(*settings).changed == 1
    assert scores.score(*settings).new == 0
    with pytest.raises(ConfigError, match="Spark reads this archive"):
        scores.score(*settings, "archive.reader=spark")


@pytest.mark.usefixtures("own_session")
def test_another_time_zone_changes_nothing(
    scores: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores.write(1, 2)
    for zone, new in (("UTC", 2), ("Asia/Tokyo", 0)):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert scores.score("archive.reader=spark").new == new
    monkeypatch.undo()
    time.tzset()


# Names


STRANGE = "[1] {a,b} * ? % # é :"


def test_all_stages_work_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / STRANGE / "date=2026-11-01"
    (folder / "archive").mkdir(parents=True)
    # A sibling that the pattern would fit, too.
    shutil.copytree(folder, tmp_path / "1 a xy z % # é :" / "date=2026-11-01")
    ids = [f"I{n:02} {STRANGE if n % 2 else STRANGE.replace(':', '')}" for n in range(40)]
    for n in range(40):
        (folder / "archive" / f"{ids[n]}.jpg").write_bytes(jpeg((6 * n, 3 * n, 90)))
    codes = ("nv", "mel", "bkl", "df")
    rows = [f'L{n},"{ids[n]}",{codes[n % 4]},histo,45,male,back\n' for n in range(40)]
    (folder / "metadata.csv").write_text(HEADER + "".join(rows))
    dataset = prepare_folder(folder)
    assert (dataset.tensors, dataset.rejects) == (40, {})
    settings = [
        *(f"{key}={json.dumps(str(folder / name))}" for key, name in PLACES.items()),
        *(
            "dataset.shards=2",
            "model.name=tiny",
            "train.epochs=1",
            "train.global_batch_size=8",
            "evaluate.bootstrap_samples=20",
        ),
        *("archive.reader=pyarrow", f"score.archive={json.dumps([str(folder / 'archive')])}"),
    ]
    config = load_config(None, settings)
    assert Path(explore(config, QUIET)).exists()
    train(config, QUIET)
    assert evaluate(config, QUIET)[0].images == dataset.count("test")
    assert score(config, QUIET).scored == 40
    elsewhere = folder.parent.parent / STRANGE.replace(":", "")
    shutil.copytree(folder / "archive", elsewhere)
    by_spark = ["archive.reader=spark", f"score.output={json.dumps(str(folder / 'by [spark]'))}"]
    by_spark += [f"score.archive={json.dumps([str(elsewhere)])}"]
    summary = score(load_config(None, [*settings, *by_spark]), QUIET)
    # Hadoop itself can't read a local file that has a colon in its name.
    assert (summary.scored, summary.rejects) == (20, {"unsupported": 20})


PLACES = {"dataset.path": "dataset", "run.path": "run", "score.output": "scores"}


def test_an_export_is_harmless_in_a_spreadsheet(scores: Scoring) -> None:
    (scores.folder / "=HYPERLINK(1).jpg").write_bytes(jpeg())
    (scores.folder / "@sum,\x1b[31m.jpg").write_bytes(jpeg())
    write_zip(scores.folder / "a.zip", {"-1\n+2.jpg": jpeg()})
    folder = Path(scores.score("score.format=csv").path)
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["image_id"] for row in rows) == [
        "'-1\\x0a+2",
        "'=HYPERLINK(1)",
        "'@sum,\\x1b[31m",
    ]
    assert all(0 <= float(row["probability_mel"]) <= 1 for row in rows)
    assert scores.score("score.format=isic").path == str(folder)
    assert "'=HYPERLINK(1)," in (folder / "isic.csv").read_text()


# Metadata


def test_rows_of_the_metadata_that_can_t_be_read_are_rejects(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    for n in range(12):
        (tmp_path / "archive" / f"I{n:02}.jpg").write_bytes(jpeg((n, n, n)))
    rows = [f"L{n},I{n:02},NV,histo,45,male,back\n" for n in range(12)]
    rows[3] = 'L3,I03,nv,"hi\nsto",45,male,back\n'
    rows[5] = "L5,I05,nv,histo\n"
    rows += ["L6,I06,NV ,histo,45,male,back\n", "L7,,nv,histo,45,male,back\n"]
    (tmp_path / "metadata.csv").write_text("\ufeff" + HEADER + "".join(rows))
    dataset = prepare_folder(tmp_path)
    assert dataset.rejects == {"duplicate_id": 1, "malformed_row": 2, "no_metadata": 1}
    assert (dataset.inputs, dataset.tensors) == (15, 11)
    told = {
        row["detail"]: (row["image_id"], row["source"].rpartition("/")[2])
        for row in pq.read_table(f"{dataset.path}/rejects").to_pylist()
        if row["reason"] == "malformed_row"
    }
    assert told == {
        "line 8: 4 fields, 7 expected": ("I05", "metadata.csv"),
        "line 16: no image_id": (None, "metadata.csv"),
    }


def test_metadata_rows_that_get_lost_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closing check counts what the file holds, not what the query made of it."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "I00.jpg").write_bytes(jpeg())

    def losing(*arguments: Any) -> Metadata:
        found = stage_metadata(*arguments)
        return found._replace(rows=found.rows.where("image_id <> 'I03'"))

    monkeypatch.setattr("skinclf.spark.plan.stage_metadata", losing)
    with pytest.raises(CheckError, match="12 inputs but 1 tensors"):
        prepare_folder(tmp_path)


def test_a_file_of_somebody_else_s_among_the_tensors_is_neither_read_nor_removed(
    tmp_path: Path,
) -> None:
    (tmp_path / "archive").mkdir()
    for n in range(12):
        (tmp_path / "archive" / f"I{n:02}.jpg").write_bytes(jpeg((n, n, n)))
    prepare_folder(tmp_path)
    notes = tmp_path / "dataset" / "tensors" / "notes" / "x.parquet"
    notes.parent.mkdir()
    pq.write_table(pa.table({"x": [1]}), notes)
    dataset = prepare_folder(tmp_path, "dataset.overwrite=true")
    assert dataset.tensors == 12
    assert notes.exists()
