import io
import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.config.loader import load_config
from skinclf.config.schema import Config
from skinclf.errors import (
    CheckError,
    DatasetError,
    MetadataError,
    QualityError,
    StorageUnavailable,
    UsageError,
)
from skinclf.spark.splits import SPLITS
from skinclf.spark.tensors import dataset_tensors
from skinclf.spec.image import decode_rgb
from skinclf.spec.tables import REJECTS, TENSORS
from skinclf.stages.prepare import build, finished_dataset, prepare, preview
from skinclf.storage.dataset_folder import Dataset
from tests.support.images import encoded, jpeg, write_zip
from tests.support.sessions import shared_session

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
QUIET = Console(quiet=True)


def metadata_line(number: int, *, dx: str = "nv", lesion: int | None = None) -> str:
    lesion = number // 2 if lesion is None else lesion
    return f"HAM_{lesion:04},ISIC_{number:04},{dx},histo,45.0,female,back\n"


def config_for(folder: Path, *assignments: str, archive: str = "archive") -> Config:
    return load_config(
        None,
        [
            f"archive.paths={folder / archive}",
            f"archive.metadata={folder / 'metadata.csv'}",
            f"dataset.path={folder / 'dataset'}",
            "dataset.shards=4",
            "spark.master=local[2]",
            *assignments,
        ],
    )


def stored(path: str, name: str) -> list[dict]:
    return pq.read_table(f"{path}/{name}").to_pylist()


@pytest.fixture(scope="module")
def odd_archive(
    tmp_path_factory: pytest.TempPathFactory, sessions: ExitStack
) -> tuple[Path, Dataset]:
    """120 sound photographs and one of every trouble, in a folder and in a zip."""
    shared_session(sessions)
    folder = tmp_path_factory.mktemp("odd")
    archive = folder / "archive"
    archive.mkdir()
    sound = {f"ISIC_{n:04}.jpg": jpeg((n, 100, 250 - n)) for n in range(120)}
    broken = {
        "ISIC_0200.jpg": sound["ISIC_0001.jpg"][:200],
        "ISIC_0201.jpg": b"",
        "ISIC_0202.jpg": b"not an image at all",
        "ISIC_0203.png": bomb(),
        "ISIC_0204.jpg": jpeg(),  # no metadata row
        "ISIC_0205.jpg": jpeg(),  # unknown dx
        "again/ISIC_0000.jpg": jpeg(),  # the id of a sound one
        "ISIC_0207.jpg": jpeg(),  # two rows that contradict each other
        "notes.txt": b"taken with a DermLite",
        "ISIC_0208.jpg": b"A" * 1000,  # damaged below
    }
    odd = {
        "ISIC_0300.jpg": encoded(np.full((60, 80), 90, np.uint8), "JPEG"),  # gray
        "ISIC_0301.png": encoded(np.full((60, 80), 0x5A00, np.uint16), "PNG"),  # 16 bits
        "ISIC_0302.jpg": cmyk(),
    }
    members = list((sound | broken).items())
    zipped = write_zip(archive / "part_1.zip", dict(members[40:]))
    zipped.write_bytes(zipped.read_bytes().replace(b"A" * 1000, b"A" * 999 + b"B"))
    for name, content in [*members[:40], *odd.items()]:
        (archive / name).write_bytes(content)
    rows = [metadata_line(n) for n in [*range(120), *range(200, 204), 208, *range(300, 303)]]
    rows += [metadata_line(205, dx="wart"), metadata_line(207), metadata_line(207, dx="mel")]
    rows += [metadata_line(400), metadata_line(5)]  # no image; a row that stands twice
    (folder / "metadata.csv").write_text(HEADER + "".join(rows))
    return folder, prepare(config_for(folder), QUIET)


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


def cmyk() -> bytes:
    buffer = io.BytesIO()
    Image.new("CMYK", (80, 60), (0, 255, 255, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_every_trouble_is_a_reject_with_its_reason(odd_archive: tuple[Path, Dataset]) -> None:
    _, dataset = odd_archive
    reasons = {
        (row["image_id"], row["source"].rsplit("/", 1)[-1]): row["reason"]
        for row in stored(dataset.path, "rejects")
    }
    assert reasons == {
        ("ISIC_0200", "ISIC_0200.jpg"): "truncated",
        ("ISIC_0201", "ISIC_0201.jpg"): "empty",
        ("ISIC_0202", "ISIC_0202.jpg"): "unreadable",
        ("ISIC_0203", "ISIC_0203.png"): "too_large",
        ("ISIC_0204", "ISIC_0204.jpg"): "no_metadata",
        ("ISIC_0205", "ISIC_0205.jpg"): "unknown_dx",
        ("ISIC_0000", "ISIC_0000.jpg"): "duplicate_id",
        ("ISIC_0207", "ISIC_0207.jpg"): "conflicting_metadata",
        ("notes", "notes.txt"): "no_metadata",
        ("ISIC_0208", "ISIC_0208.jpg"): "unreadable",
        ("ISIC_0400", "metadata.csv"): "no_image",
        ("ISIC_0005", "metadata.csv"): "duplicate_id",
        ("ISIC_0207", "metadata.csv"): "duplicate_id",
    }


def test_inputs_are_tensors_and_rejects(odd_archive: tuple[Path, Dataset]) -> None:
    _, dataset = odd_archive
    assert dataset.tensors == 123
    assert sum(dataset.rejects.values()) == 13
    assert dataset.inputs == 136  # 133 files, a row without image, two repeated rows
    assert sum(file.rows for file in dataset.files) == 123


def test_tensors_are_what_the_decoder_gives(odd_archive: tuple[Path, Dataset]) -> None:
    _, dataset = odd_archive
    rows = {row["image_id"]: row for row in stored(dataset.path, "tensors")}
    assert len(rows) == 123
    row = rows["ISIC_0007"]
    assert row["pixels"] == decode_rgb(jpeg((7, 100, 243)), max_pixels=10**6).tobytes()
    assert (row["lesion_id"], row["dx"], row["label"], row["age"]) == ("HAM_0003", "nv", 5, 45.0)
    assert len(row["digest"]) == 64
    assert set(rows["ISIC_0300"]["pixels"]) == {90}
    assert set(rows["ISIC_0301"]["pixels"]) == {0x5A}
    assert rows["ISIC_0302"]["pixels"][0] > 240


def test_files_have_the_declared_schema_and_say_what_pixels_are(
    odd_archive: tuple[Path, Dataset],
) -> None:
    _, dataset = odd_archive
    schema = pq.read_schema(f"{dataset.path}/{dataset.files[0].path}")
    assert schema.names == TENSORS.names
    assert schema.types == TENSORS.types
    about = schema.field("pixels").metadata
    assert (about[b"shape"], about[b"dtype"]) == (b"[75, 100, 3]", b"uint8")
    rejects = pq.read_table(f"{dataset.path}/rejects").schema
    assert (rejects.names, rejects.types) == (REJECTS.names, REJECTS.types)


def test_training_shards_are_equal(odd_archive: tuple[Path, Dataset]) -> None:
    _, dataset = odd_archive
    rows = dataset.rows_of("train")
    assert len(rows) == 4
    assert max(rows) - min(rows) <= 1
    assert sum(rows) == dataset.count("train") == sum(dataset.counts["train"].values())


def test_the_same_archive_gives_the_same_rows_in_the_same_order(
    odd_archive: tuple[Path, Dataset],
) -> None:
    folder, dataset = odd_archive
    again = prepare(config_for(folder, f"dataset.path={folder / 'again'}"), QUIET)

    def rows_by_file(one: Dataset) -> list[tuple[str, list[str]]]:
        return [
            (file.split, pq.read_table(f"{one.path}/{file.path}")["image_id"].to_pylist())
            for file in one.files
        ]

    assert rows_by_file(again) == rows_by_file(dataset)


def test_an_image_that_can_t_be_read_moves_no_other(odd_archive: tuple[Path, Dataset]) -> None:
    """It leaves a hole: splits and order are drawn before any file is read."""
    folder, dataset = odd_archive
    shutil.copytree(folder / "archive", folder / "worse")
    for n in (3, 17, 39):
        (folder / "worse" / f"ISIC_{n:04}.jpg").write_bytes(b"broken since")
    config = config_for(folder, f"dataset.path={folder / 'holes'}", archive="worse")
    holes = prepare(config, QUIET)
    assert holes.tensors == dataset.tensors - 3

    def images(one: Dataset) -> dict[str, list[str]]:
        files = {split: [f"{one.path}/{f.path}" for f in one.files_of(split)] for split in SPLITS}
        return {s: pq.read_table(files[s])["image_id"].to_pylist() for s in SPLITS}

    broken = {"ISIC_0003", "ISIC_0017", "ISIC_0039"}
    before = {split: [n for n in ids if n not in broken] for split, ids in images(dataset).items()}
    assert images(holes) == before


def test_of_two_files_with_one_id_the_one_that_can_be_read_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for folder, content in (("a", b"broken"), ("b", jpeg()), ("c", jpeg((9, 9, 9)))):
        (tmp_path / "archive" / folder).mkdir(parents=True)
        (tmp_path / "archive" / folder / "ISIC_0001.jpg").write_bytes(content)
    (tmp_path / "metadata.csv").write_text(HEADER + metadata_line(1))
    dataset = prepare(config_for(tmp_path), QUIET)
    (row,) = stored(dataset.path, "tensors")
    assert row["source"].endswith("archive/b/ISIC_0001.jpg")
    rejects = {r["source"].split("/")[-2]: r["reason"] for r in stored(dataset.path, "rejects")}
    assert rejects == {"a": "unreadable", "c": "duplicate_id"}
    assert "taken instead: " + row["source"] in str(stored(dataset.path, "rejects"))
    assert "all training images are nv. skinclf train refuses this dataset" in caplog.text


def test_a_dataset_that_is_built_anew_takes_the_old_one_s_place_at_once(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    for n in range(20):
        (tmp_path / "archive" / f"ISIC_{n:04}.jpg").write_bytes(jpeg((n, n, n)))
    (tmp_path / "metadata.csv").write_text(HEADER + "".join(map(metadata_line, range(20))))
    old = prepare(config_for(tmp_path), QUIET)
    stray = tmp_path / "dataset" / "tensors" / "split=train" / "train-00009-0123456789ab.parquet"
    stray.write_bytes(b"half of a file")
    again = config_for(tmp_path, "dataset.overwrite=true")

    def failing(_file: bytes) -> NDArray[np.uint8]:
        assert Dataset.read(old.path) == old  # and all that it names is there
        assert sum(pq.read_table(f"{old.path}/{name}").num_rows for name in old.named) == 20
        raise StorageUnavailable("the storage is gone")

    with pytest.raises(StorageUnavailable):
        build(again, QUIET, failing)
    assert Dataset.read(old.path) == old
    new = prepare(again, QUIET)
    on_disk = {str(p.relative_to(new.path)) for p in Path(new.path).rglob("*.parquet")}
    assert on_disk == set(new.named)
    assert on_disk & set(old.named) <= {"rejects/none.parquet"}


def test_a_file_that_dataset_json_does_not_name_is_not_read(
    odd_archive: tuple[Path, Dataset], spark: SparkSession
) -> None:
    _, dataset = odd_archive
    stray = Path(dataset.path) / "tensors" / "split=train" / "train-00000-killed.parquet"
    stray.write_bytes(b"half of a file")
    try:
        assert dataset_tensors(spark, dataset).count() == dataset.tensors
    finally:
        stray.unlink()


def test_a_finished_dataset_is_not_written_over_unless_allowed(
    odd_archive: tuple[Path, Dataset],
) -> None:
    folder, dataset = odd_archive
    before = {path: path.stat().st_mtime_ns for path in Path(dataset.path).rglob("*")}
    assert prepare(config_for(folder), QUIET) == dataset
    (nothing,) = preview(config_for(folder)).starts
    assert nothing.startswith("nothing: ")
    assert nothing.endswith("--set dataset.overwrite=true")
    with pytest.raises(DatasetError, match=r"dataset\.overwrite=true"):
        prepare(config_for(folder, "split.seed=3"), QUIET)
    assert {path: path.stat().st_mtime_ns for path in Path(dataset.path).rglob("*")} == before


def test_a_dataset_that_can_t_be_read_is_not_written_over(tmp_path: Path) -> None:
    """All its files would be deleted as nobody's, before there is another."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "ISIC_0001.jpg").write_bytes(jpeg())
    (tmp_path / "metadata.csv").write_text(HEADER + metadata_line(1))
    prepare(config_for(tmp_path), QUIET)
    before = {path: path.read_bytes() for path in (tmp_path / "dataset").rglob("*.parquet")}
    (tmp_path / "dataset" / "dataset.json").write_text('{"format": 3}')
    with pytest.raises(DatasetError, match="What lies there is kept"):
        prepare(config_for(tmp_path, "dataset.overwrite=true"), QUIET)
    assert {path: path.read_bytes() for path in before} == before


def test_a_finished_dataset_of_other_settings_is_not_taken_over(
    odd_archive: tuple[Path, Dataset],
) -> None:
    folder, dataset = odd_archive
    assert finished_dataset(config_for(folder)) == dataset
    same = config_for(folder, archive=f"../{folder.name}/./archive/")
    assert finished_dataset(same) == dataset
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # of an earlier version, which kept paths as they were written
        manifest = folder / "dataset" / "dataset.json"
        whole = manifest.read_bytes()
        manifest.write_bytes(whole.replace(f"{folder}/".encode(), b""))
        assert finished_dataset(same) is not None
        manifest.write_bytes(whole)
    for setting, name in (
        ("archive.exclude=[]", r"\[archive\]"),
        ("dataset.shards=1", "shards"),
        ("archive.licence=CC0", r"archive\.licence"),  # on the cards of dataset and models
    ):
        with pytest.raises(DatasetError, match=name):
            finished_dataset(config_for(folder, setting))


def test_a_preview_finds_what_the_job_would_end_at(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "ISIC_0001.jpg").write_bytes(jpeg())
    (tmp_path / "metadata.csv").write_text(HEADER + metadata_line(1) + '"L2,ISIC_0002')
    with pytest.raises(MetadataError, match=r"line 3: .*closing quote"):
        preview(config_for(tmp_path))
    (tmp_path / "metadata.csv").write_text(HEADER + metadata_line(1))
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "dataset.json").write_text("{")
    with pytest.raises(DatasetError, match="to replace it, delete"):
        preview(config_for(tmp_path, "dataset.overwrite=true"))


def test_a_folder_of_somebody_else_s_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "ISIC_0001.jpg").write_bytes(jpeg())
    (tmp_path / "metadata.csv").write_text(HEADER + metadata_line(1))
    precious = tmp_path / "dataset" / "tensors" / "precious.npy"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"years of work")
    with pytest.raises(UsageError, match="holds tensors, which no job of ours wrote"):
        prepare(config_for(tmp_path), QUIET)
    assert precious.exists()


def test_what_a_broken_off_prepare_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "ISIC_0001.jpg").write_bytes(b"x")
    (tmp_path / "metadata.csv").write_text(HEADER + metadata_line(1))
    with pytest.raises(CheckError):
        prepare(config_for(tmp_path), QUIET)
    (tmp_path / "archive" / "ISIC_0001.jpg").write_bytes(jpeg())
    assert prepare(config_for(tmp_path), QUIET).tensors == 1


def test_nothing_but_the_dataset_is_left(odd_archive: tuple[Path, Dataset]) -> None:
    _, dataset = odd_archive
    names = {path.name for path in Path(dataset.path).iterdir()}
    assert names == {"dataset.json", "README.md", "tensors", "rejects"}


def test_a_relative_path_is_the_driver_s_and_not_that_of_tasks_which_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark's workers keep the folder in which the session began."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "ISIC_0001.jpg").write_bytes(jpeg())
    (tmp_path / "archive" / "ISIC_0002.jpg").write_bytes(b"x")
    (tmp_path / "metadata.csv").write_text(HEADER + metadata_line(1) + metadata_line(2))
    monkeypatch.chdir(tmp_path)
    dataset = prepare(config_for(Path()), QUIET)
    assert (dataset.tensors, dataset.rejects) == (1, {"unreadable": 1})
    assert Path(dataset.path) == tmp_path / "dataset"
    assert all((tmp_path / "dataset" / name).exists() for name in dataset.named)


def test_an_archive_without_one_good_image_ends_with_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "ISIC_0001.jpg").write_bytes(b"x")
    (tmp_path / "metadata.csv").write_text(HEADER + metadata_line(1))
    with pytest.raises(QualityError, match=r"none of 1 inputs became a tensor \(1 unreadable\)"):
        prepare(config_for(tmp_path), QUIET)
    with pytest.raises(DatasetError, match=r"no dataset\.json"):
        Dataset.read(str(tmp_path / "dataset"))


def test_ham10000_as_published(ham10000: Path, tmp_path: Path) -> None:
    config = load_config(
        None,
        [
            f"archive.paths={ham10000 / 'HAM10000_images_part_*.zip'}",
            f"archive.metadata={ham10000 / 'HAM10000_metadata.csv'}",
            f"dataset.path={tmp_path / 'dataset'}",
        ],
    )
    dataset = prepare(config, QUIET)
    counts = {
        code: sum(dataset.counts[s][code] for s in dataset.counts) for code in dataset.classes
    }
    assert (dataset.inputs, dataset.tensors, dataset.rejects) == (10_015, 10_015, {})
    assert len(dataset.merged) == 36  # 18 pairs of lesions
    assert counts == {
        "akiec": 327,
        "bcc": 514,
        "bkl": 1099,
        "df": 115,
        "mel": 1113,
        "nv": 6705,
        "vasc": 142,
    }
    assert abs(dataset.count("train") - 8012) < 10
