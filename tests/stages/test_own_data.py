"""Archives as people have them: a folder for each class, tables with columns of their own."""

import logging
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from skinclf.config.loader import load_config
from skinclf.config.schema import Config
from skinclf.stages.evaluate import set_name
from skinclf.stages.prepare import prepare
from skinclf.stages.score import score_by
from skinclf.storage.dataset_folder import Dataset
from tests.support.dicoms import CANARY, compressed, dicom
from tests.support.images import jpeg, write_zip
from tests.support.models import Brightness

QUIET = Console(quiet=True)


def config_for(folder: Path, *assignments: str) -> Config:
    return load_config(
        None,
        [
            f"archive.paths={folder / 'archive'}",
            f"dataset.path={folder / 'dataset'}",
            "dataset.shards=1",
            "spark.master=local[2]",
            *assignments,
        ],
    )


def labels(dataset: Dataset) -> dict[str, str]:
    rows = pq.read_table(f"{dataset.path}/tensors").select(["image_id", "dx"]).to_pylist()
    return {row["image_id"]: row["dx"] for row in rows}


def rejects(dataset: Dataset) -> dict[str, tuple[str, str | None]]:
    rows = pq.read_table(f"{dataset.path}/rejects").to_pylist()
    return {row["image_id"]: (row["reason"], row["detail"]) for row in rows}


@pytest.mark.usefixtures("spark")
def test_folders_are_classes_in_folders_zips_and_tars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    archive = tmp_path / "archive"
    for name in ("train/mel/1.jpg", "train/NV/1.jpg", "val/Melanoma/1.jpg", "wart/1.jpg"):
        (archive / name).parent.mkdir(parents=True)
        (archive / name).write_bytes(jpeg())
    (archive / "train" / "mel" / "broken.jpg").write_bytes(b"no image")
    (archive / "loose.jpg").write_bytes(jpeg())
    write_zip(archive / "more.zip", {"mel/1.jpg": jpeg(), "nv/1.jpg": jpeg()})
    with tarfile.open(archive / "df.tar", "w") as tar:
        tar.add(archive / "loose.jpg", "1.jpg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folders").mkdir()  # the word is no path, so this is nothing to leave out
    dataset = prepare(config_for(tmp_path, "archive.metadata=folders"), QUIET)
    assert labels(dataset) == {
        "archive/train/mel/1": "mel",
        "archive/train/NV/1": "nv",
        "archive/val/Melanoma/1": "mel",
        "archive/more/mel/1": "mel",
        "archive/more/nv/1": "nv",
        "archive/df/1": "df",
    }
    told = rejects(dataset)
    assert told["archive/wart/1"] == ("unknown_dx", "dx is wart")
    assert told["archive/loose"] == ("unknown_dx", "dx is archive")
    assert told["archive/train/mel/broken"][0] == "unreadable"
    assert (dataset.inputs, dataset.tensors, len(told)) == (9, 6, 3)
    assert "folders name no lesions" in caplog.text


@pytest.mark.usefixtures("spark")
def test_a_table_in_words_of_its_own_and_dicom_of_which_the_picture_alone_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = np.full((90, 120, 3), (200, 120, 90), np.uint8)
    sound = dicom(pixels)
    files = {
        "IM1.dcm": sound,
        "1.2.840.9.1": compressed(pixels, "JPEG"),  # a UID for a name, and no ending
        "1.2.840.9.2": compressed(pixels, "JPEG2000"),
        "cut.dcm": sound[:-100],
        "odd.dcm": dicom(pixels, PhotometricInterpretation=CANARY),
        "text.dcm": dicom(pixels, BurnedInAnnotation="YES"),
        "damaged.dcm": sound.replace(b"\x28\0\x10\0US\2\0", b"\x28\0\x10\0LO\x0d\0"),
    }
    (tmp_path / "archive").mkdir()
    write_zip(tmp_path / "archive" / "export.zip", dict(list(files.items())[:4]))
    for name in list(files)[4:]:
        (tmp_path / "archive" / name).write_bytes(files[name])
    ids = ("PA1/IM1", "1.2.840.9.1", "1.2.840.9.2", "cut.dcm", "odd", "text", "damaged", "none")
    rows = "".join(f"{name};Naevus\n" for name in ids)
    (tmp_path / "clinic.csv").write_text(f"file;finding\n{rows}")
    config = config_for(
        tmp_path,
        f"archive.metadata={tmp_path / 'clinic.csv'}",
        'metadata.columns={image_id = "file", dx = "finding"}',
        'metadata.labels={naevus = "nv"}',
        f"score.archive={tmp_path / 'archive'}",
        f"score.output={tmp_path / 'scores'}",
    )
    with caplog.at_level(logging.INFO):
        dataset = prepare(config, QUIET)
        summary = score_by(Brightness(), config, QUIET)
    assert labels(dataset) == dict.fromkeys(("IM1", "1.2.840.9.1", "1.2.840.9.2"), "nv")
    assert Dataset.read(dataset.path).words == config.metadata
    assert {name: reason for name, (reason, _) in rejects(dataset).items()} == {
        "cut": "truncated",
        "odd": "unsupported",
        "text": "unsupported",
        "damaged": "unreadable",
        "none": "no_image",
    }
    assert (summary.scored, sum(summary.rejects.values())) == (3, 4)
    written = [caplog.text, *capfd.readouterr()]
    for place in ("dataset", "scores"):
        for file in (tmp_path / place).rglob("*"):
            if file.suffix == ".parquet":
                written.append(str(pq.ParquetFile(file).read().to_pylist()))
            elif file.is_file():
                written.append(file.read_bytes().decode("latin-1"))
    assert CANARY not in "".join(written)


def test_an_outside_set_without_a_table_is_called_like_its_archive() -> None:
    outside = ["evaluate.archive=/data/clinic.zip", "evaluate.metadata=folders"]
    assert set_name(load_config(None, outside).evaluate) == "clinic"
