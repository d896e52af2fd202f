import tarfile
from pathlib import Path

import pytest

from skinclf.archives import iter_images
from skinclf.archives.class_folders import with_path_ids
from tests.support.images import write_zip


def ids(*paths: Path | str) -> list[str]:
    named = [str(path) for path in paths]
    return sorted(row["image_id"] for row in with_path_ids(iter_images(named), named))


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_two_files_of_one_name_in_two_folders_are_two_images(tmp_path: Path) -> None:
    root = files(tmp_path / "photos", "mel/1.jpg", "nv/1.jpg", "nv/1.png", "readme.txt")
    assert ids(root) == ["photos/mel/1", "photos/nv/1", "photos/nv/1", "photos/readme"]
    assert ids(f"{root}/") == ids(root)


def test_folders_above_the_classes_tell_images_apart(tmp_path: Path) -> None:
    root = files(tmp_path / "my data", "train/mel/1.jpg", "val/mel/1.jpg")
    assert ids(root) == ["my data/train/mel/1", "my data/val/mel/1"]
    assert ids(root / "train", root / "val") == ["train/mel/1", "val/mel/1"]
    assert ids(root / "train" / "mel") == ["mel/1"]


def test_named_paths_that_end_alike_have_as_many_parts_as_tell_them_apart(tmp_path: Path) -> None:
    for hospital in ("north", "south"):
        files(tmp_path / hospital / "images", "mel/1.jpg")
        write_zip(tmp_path / hospital / "more.zip", {"nv/1.jpg": b"x"})
    for named in (
        [tmp_path / "north" / "images", tmp_path / "south" / "images"],
        [f"{tmp_path}/*/images"],
        [f"{tmp_path}/*/images/*/*.jpg"],
    ):
        assert ids(*named) == ["north/images/mel/1", "south/images/mel/1"]
    zips = [tmp_path / "north" / "more.zip", tmp_path / "south" / "more.zip"]
    assert ids(*zips) == ids(f"{tmp_path}/*/more.zip")
    assert ids(*zips) == ["north/more/nv/1", "south/more/nv/1"]
    folders = [files(tmp_path / name / "images", "mel/1.jpg").parent for name in ("a.zip", "b.tar")]
    assert ids(*folders) == ["a.zip/images/mel/1", "b.tar/images/mel/1"]
    # An id does not depend on what else is named, but for a path that ends alike.
    assert ids(tmp_path / "north" / "images", zips[1]) == ["images/mel/1", "more/nv/1"]


@pytest.mark.parametrize("named", ["hdfs:///photos", "hdfs://name:8020/photos"])
def test_a_host_that_spark_adds_is_no_part_of_the_id(named: str) -> None:
    rows = [
        {"file": f"hdfs://name:8020/photos/{year}/train/mel/1.jpg", "member": None}
        for year in (2020, 2021)
    ]
    assert [row["image_id"] for row in with_path_ids(rows, [named])] == [
        "photos/2020/train/mel/1",
        "photos/2021/train/mel/1",
    ]


def test_an_archive_is_a_folder(tmp_path: Path) -> None:
    members = {"mel/1.jpg": b"x", "./nv/ 1 .jpg": b"x", "../mel/2.jpg": b"x", "3.jpg": b"x"}
    write_zip(tmp_path / "train.zip", members)
    assert ids(tmp_path / "train.zip") == [
        *("train/3", "train/mel/1", "train/mel/2", "train/nv/1"),
    ]
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as tar:
        tar.add(files(tmp_path / "loose", "mel/1.jpg"), "data")
    assert ids(tmp_path / "more.tar.gz") == ["more/data/mel/1"]
    both = files(tmp_path / "root", "nv/1.jpg")
    (tmp_path / "train.zip").rename(both / "part 1.zip")
    assert "root/part 1/mel/1" in ids(both)
    assert "root/nv/1" in ids(both)


@pytest.mark.parametrize("pattern", ["*/*/*.jpg", "**/*.jpg"])
def test_of_single_files_the_last_parts_of_the_path_are_the_id(
    tmp_path: Path, pattern: str
) -> None:
    root = files(tmp_path / "a" / "b", "train/mel/1.jpg", "val/mel/1.jpg")
    assert ids(f"{root}/{pattern}") == ["train/mel/1", "val/mel/1"]
    assert ids(root / "val" / "mel" / "1.jpg") == ["val/mel/1"]


@pytest.mark.parametrize(
    ("root", "file", "image_id"),
    [
        ("file:///data/photos", "file:/data/photos/mel/1.jpg", "photos/mel/1"),
        ("s3://bucket/photos", "s3a://bucket/photos/mel/a%20b.jpg", "photos/mel/a b"),
        ("s3://bucket", "s3a://bucket/mel/1.jpg", "bucket/mel/1"),
        ("hdfs://one:8020/photos", "hdfs:/other/train/mel/1.jpg", "train/mel/1"),
    ],
)
def test_uris_are_compared_without_their_schemes(root: str, file: str, image_id: str) -> None:
    row = {"file": file, "source": file, "member": None}
    assert [found["image_id"] for found in with_path_ids([row], [root])] == [image_id]


def test_letters_of_any_alphabet_and_bytes_of_none(tmp_path: Path) -> None:
    root = files(tmp_path / "häute", "mel/ü#1.jpg", "mel/caf\udce9.jpg")
    assert ids(root) == ["häute/mel/caf%E9", "häute/mel/ü#1"]
