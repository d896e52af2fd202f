"""Archives as people have them: a folder for each class, tables with columns of their own."""

import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from skinclf.config.loader import load_config
from skinclf.config.schema import Config
from skinclf.stages.evaluate import set_name
from skinclf.stages.prepare import prepare
from skinclf.storage.dataset_folder import Dataset
from tests.support.images import jpeg, write_zip

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
def test_a_table_may_have_columns_and_words_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    for name in ("a.jpg", "b.JPG", "c.jpg"):
        (tmp_path / "archive" / name).write_bytes(jpeg())
    table = "file;finding;mole\nphotos/a.jpg;Naevus;1\nb.jpg;Melanoma;2\nc;wart;3\nd.jpg;mel;4\n"
    (tmp_path / "clinic.csv").write_text(table)
    config = config_for(
        tmp_path,
        f"archive.metadata={tmp_path / 'clinic.csv'}",
        'metadata.columns={image_id = "file", dx = "finding", lesion_id = "mole"}',
        'metadata.labels={naevus = "nv"}',
    )
    dataset = prepare(config, QUIET)
    assert labels(dataset) == {"a": "nv", "b": "mel"}
    assert rejects(dataset) == {"c": ("unknown_dx", "dx is wart"), "d": ("no_image", None)}
    assert Dataset.read(dataset.path).words == config.metadata


def test_an_outside_set_without_a_table_is_called_like_its_archive() -> None:
    outside = ["evaluate.archive=/data/clinic.zip", "evaluate.metadata=folders"]
    assert set_name(load_config(None, outside).evaluate) == "clinic"
