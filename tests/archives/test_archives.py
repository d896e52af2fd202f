import errno
import io
import os
import re
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from skinclf.archives import (
    ArchiveReader,
    Selection,
    check_apart,
    folders,
    iter_images,
    list_images,
)
from skinclf.archives.files import StorageFile
from skinclf.archives.lists import files_named
from skinclf.archives.names import image_id_of
from skinclf.errors import ArchiveError, ConfigError
from skinclf.spec.rejects import RejectedImage
from tests.support.images import jpeg, write_zip

MIB = 2**20


def contents(paths: list[Path], max_file_bytes: int = MIB) -> dict[str, bytes | str]:
    """Listed image_id → its bytes, or the reason why there are none."""
    found: dict[str, bytes | str] = {}
    with ArchiveReader(max_file_bytes) as reader:
        for entry in list_images(map(str, paths)).to_pylist():
            try:
                found[entry["image_id"]] = reader.read(entry)
            except RejectedImage as rejected:
                found[entry["image_id"]] = rejected.reason
    return found


def test_folders_are_listed_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "one.jpg").write_bytes(b"1")
    (tmp_path / "a" / "b" / "two.JPG").write_bytes(b"2")
    assert contents([tmp_path]) == {"one": b"1", "two": b"2"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_of_a_zip_are_read_in_place(tmp_path: Path, method: int) -> None:
    members = {f"deep/ISIC_{n:07}.jpg": jpeg((n, n, n)) for n in range(20)}
    archive = write_zip(tmp_path / "a.zip", members, method)
    expected = {Path(name).stem: content for name, content in members.items()}
    assert contents([archive]) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_member_with_a_long_extra_field_is_read_whole(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x.jpg")
    info.extra = b"\x99\x99\xe8\x03" + bytes(1000)  # id 0x9999, 1,000 bytes: longer than guessed
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, b"the content")
    assert contents([tmp_path / "a.zip"]) == {"x": b"the content"}


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("deep/ISIC_1.jpg", "ISIC_1"),
        ("photo.jpg.png", "photo.jpg"),
        ("IM000001", "IM000001"),
        ("1.2.840.113619.2.1", "1.2.840.113619.2.1"),  # a UID, as DICOM files are called
        ("1.2.840.113619.2.1.dcm", "1.2.840.113619.2.1"),
    ],
)
def test_a_file_s_id_is_its_name_without_its_ending(name: str, image_id: str) -> None:
    assert image_id_of(name) == image_id


def test_the_source_names_the_member_inside_the_archive(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    write_zip(folder / "ä.zip", {"ISIC_1.jpg": b"x"})
    (row,) = list_images([str(folder)]).to_pylist()
    assert row["source"] == f"{(folder / 'ä.zip').as_uri()}!/ISIC_1.jpg"
    assert contents([folder]) == {"ISIC_1": b"x"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_of_files_is_read_in_the_encodings_of_spreadsheets(
    tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "café.jpg").write_bytes(b"one")
    (tmp_path / "list.txt").write_text("café.jpg\n", encoding)
    (row,) = list_images([str(tmp_path / "list.txt")]).to_pylist()
    assert (row["image_id"], row["reason"]) == ("café", None)


def test_a_file_listed_by_two_paths_counts_once(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"1")
    assert list_images([str(tmp_path), str(tmp_path / "one.jpg")]).num_rows == 1


def test_globs_and_what_is_left_out(tmp_path: Path) -> None:
    for name in ("part_1.jpg", "part_2.jpg", "other.jpg"):
        (tmp_path / name).write_bytes(b"x")
    glob = str(tmp_path / "part_*.jpg")
    listed = list_images([glob], leave_out=[str(tmp_path / "part_2.jpg"), ""])
    assert listed["image_id"].to_pylist() == ["part_1"]


def test_a_broken_member_is_unreadable_and_its_neighbors_are_not(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.jpg": b"A" * 100, "b.jpg": b"B" * 100})
    damaged = archive.read_bytes().replace(b"A" * 100, b"A" * 99 + b"Z")
    archive.write_bytes(damaged)
    assert contents([archive]) == {"a": "unreadable", "b": b"B" * 100}


def test_a_directory_that_points_nowhere_is_unreadable(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.jpg": b"A" * 100, "b.jpg": b"B" * 100})
    local_header = archive.read_bytes().index(b"PK\x03\x04")
    damaged = bytearray(archive.read_bytes())
    damaged[local_header : local_header + 4] = b"nope"
    archive.write_bytes(damaged)
    assert contents([archive]) == {"a": "unreadable", "b": b"B" * 100}


def test_a_zip_bomb_stops_at_the_size_that_it_promised(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.jpg": bytes(5 * MIB)}, zipfile.ZIP_DEFLATED)
    lie = archive.read_bytes().replace((5 * MIB).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(lie)
    assert contents([archive]) == {"a": "unreadable"}


def test_a_file_over_the_limit_is_too_large_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(bytes(1001))
    assert contents([tmp_path], max_file_bytes=1000) == {"a": "too_large"}


def test_what_is_called_zip_and_is_none_is_one_unreadable_input(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no zip")
    (tmp_path / "b.jpg").write_bytes(b"b")
    assert contents([tmp_path]) == {"a": "unreadable", "b": b"b"}


def test_a_zip_behind_other_bytes_is_read(tmp_path: Path) -> None:
    """As a program that unpacks itself; its offsets count from the zip's own first byte."""
    archive = write_zip(tmp_path / "a.zip", {"a.jpg": b"A", "b.jpg": b"B"})
    archive.write_bytes(b"#!/bin/sh" * 100 + archive.read_bytes())
    assert contents([archive]) == {"a": b"A", "b": b"B"}


def test_a_zip_with_a_comment_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"A")
        archive.comment = b"c" * 65_535
    assert contents([tmp_path / "a.zip"]) == {"a": b"A"}


def test_a_damaged_directory_gives_what_stands_before_the_damage(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {f"{n}.jpg": bytes([n]) for n in range(5)})
    raw = archive.read_bytes()
    third = [match.start() for match in re.finditer(b"PK\x01\x02", raw)][2]
    archive.write_bytes(raw[:third] + b"nope" + raw[third + 4 :])
    assert contents([archive]) == {"0": b"\0", "1": b"\1", "a": "unreadable"}
    told = list_images([str(archive)])["detail"].drop_null().to_pylist()
    assert told == ["not a readable zip file: its central directory is damaged (after 2 members)"]


def test_a_zip_of_very_many_members_is_listed_page_by_page(tmp_path: Path) -> None:
    """More than 65,535, so that it is ZIP64, whose directory is many pages long."""
    write_zip(tmp_path / "a.zip", {f"folder/ISIC_{n:07}.jpg": b"" for n in range(70_000)})
    rows = iter_images([str(tmp_path / "a.zip")])
    assert next(rows)["source"].endswith("/ISIC_0000000.jpg")  # what is imported late is there
    tracemalloc.start()
    count = sum(row["source"].endswith(f"/ISIC_{n:07}.jpg") for n, row in enumerate(rows, 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 69_999
    assert peak < 12 * MIB  # a page and its members; all of them would take 75


def test_an_encrypted_member_is_unreadable(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.jpg": b"A"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # general purpose flag bit 0 in the directory
    archive.write_bytes(raw)
    assert contents([archive]) == {"a": "unreadable"}


def test_a_file_that_vanished_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (entry,) = list_images([str(tmp_path)]).to_pylist()
    (tmp_path / "a.jpg").unlink()
    with ArchiveReader(MIB) as reader, pytest.raises(RejectedImage) as caught:
        reader.read(entry)
    assert caught.value.reason == "vanished"


@pytest.mark.parametrize("path", ["nowhere", "nowhere/*.zip"])
def test_a_path_that_is_not_there_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(ArchiveError, match="nowhere"):
        list_images([str(tmp_path / path)])


def test_a_folder_that_may_not_be_listed_is_one_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.jpg").write_bytes(jpeg())
    listing = folders._entries

    def entries(folder: str) -> list[os.DirEntry[str]]:
        if folder.endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return listing(folder)

    monkeypatch.setattr(folders, "_entries", entries)
    found = {each.name: each.reason for each in folders.Walk().files(str(tmp_path))}
    assert found == {"a.jpg": None, "locked/": "unreadable"}


def test_folders_of_one_inode_are_all_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the subvolumes of a btrfs, exported by NFS, are."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jpg").write_bytes(jpeg())
    (tmp_path / "again").symlink_to(tmp_path / "a")
    real = os.stat

    def stat_of(path: str, **options: Any) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result((found.st_mode, 256, *found[2:])) if os.path.isdir(path) else found

    monkeypatch.setattr(folders, "_stat", stat_of)
    walk = folders.Walk()
    found = [each.name for each in (*walk.files(str(tmp_path)), *walk.linked())]
    assert sorted(found) == ["a/a.jpg", "b/b.jpg"]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no files in"):
        list_images([str(tmp_path)])


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz"])
def test_members_of_a_tar_are_read_in_place(tmp_path: Path, ending: str) -> None:
    members = {f"deep/ISIC_{n:07}.jpg": jpeg((n, n, n)) for n in range(20)}
    archive = write_tar(tmp_path / f"a{ending}", members)
    assert contents([archive]) == {Path(name).stem: data for name, data in members.items()}
    (row, *_) = list_images([str(archive)]).to_pylist()
    assert row["source"] == f"{archive.as_uri()}!/deep/ISIC_0000000.jpg"


def test_members_of_a_packed_tar_are_read_in_any_order(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", {f"{n}.jpg": bytes([n]) * 9 for n in range(5)})
    entries = list_images([str(archive)]).to_pylist()
    with ArchiveReader(MIB) as reader:
        assert [reader.read(entries[n])[0] for n in (3, 1, 4)] == [3, 1, 4]


def test_a_tar_cut_off_gives_what_is_whole_and_one_defect(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", {f"{n}.jpg": bytes([n]) * 2000 for n in range(5)})
    archive.write_bytes(archive.read_bytes()[: 3 * 2560 + 1000])  # within the fourth member
    found = contents([archive])
    assert [found[str(n)] for n in range(3)] == [bytes([n]) * 2000 for n in range(3)]
    assert found["3"] == "truncated"


def test_what_is_called_tar_and_is_none_is_one_unreadable_input(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar.gz", "c.parquet"):
        (tmp_path / name).write_bytes(b"something else" * 100)
    assert set(contents([tmp_path]).values()) == {"unreadable"}
    assert list_images([str(tmp_path)]).num_rows == 3


def test_parquet_as_hugging_face_writes_it(tmp_path: Path) -> None:
    images = [
        {"bytes": None if n == 7 else bytes([n]) * 50, "path": f"IMG_{n}.jpg"} for n in range(40)
    ]
    table = pa.table({"image": images, "label": list(range(40))})
    pq.write_table(table, tmp_path / "train-0000.parquet", row_group_size=15)
    found = contents([tmp_path])
    assert found.pop("IMG_7") == "empty"
    assert found == {f"IMG_{n}": bytes([n]) * 50 for n in range(40) if n != 7}


def test_parquet_as_spark_s_binary_file_source_gives_it(tmp_path: Path) -> None:
    table = pa.table({"path": ["s3://b/x/a.jpg", "s3://b/y/a.jpg"], "content": [b"1", b"2"]})
    pq.write_table(table, tmp_path / "images.parquet")
    rows = list_images([str(tmp_path)]).to_pylist()
    assert [row["source"].rpartition("!/")[2] for row in rows] == ["0/a.jpg", "1/a.jpg"]
    with ArchiveReader(MIB) as reader:
        assert [reader.read(row) for row in rows] == [b"1", b"2"]


def test_parquet_without_images_says_what_is_expected(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    (row,) = list_images([str(tmp_path)]).to_pylist()
    assert "image.bytes and image.path" in row["detail"]


def test_a_list_names_files_by_line_or_by_column(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.jpg", "sub/b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    write_zip(tmp_path / "z.zip", {"c.jpg": b"c"})
    lines = tmp_path / "list.txt"
    lines.write_text(f"a.jpg\n\n{(tmp_path / 'sub/b.jpg').as_uri()}\nz.zip\ngone.jpg\n")
    expected = {"a": b"a.jpg", "b": b"sub/b.jpg", "c": b"c", "gone": "vanished"}
    assert contents([lines]) == expected
    table = tmp_path / "list.csv"
    table.write_text("id,path\n1,a.jpg\n2,sub/b.jpg\n")
    assert contents([table]) == {"a": b"a.jpg", "b": b"sub/b.jpg"}
    table.write_text("id,name\n1,a.jpg\n")
    with pytest.raises(ArchiveError, match="has the columns id, name"):
        list_images([str(table)])


def test_only_names_that_a_pattern_fits_are_listed(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"x/one.JPG": b"1", "x/notes.txt": b"2"})
    (tmp_path / "two.png").write_bytes(b"3")
    (tmp_path / "broken.zip").write_bytes(b"4")
    for name in ("three.jpg", "notes.lnk"):
        (tmp_path / name).symlink_to("nowhere")
    write_zip(tmp_path / "long.zip", {"n" * 5000 + ".jpg": b"5"})
    selection = Selection(include=["*.jpg", "*.png"])
    listed = list_images([str(tmp_path)], selection=selection)
    found = sorted(listed["image_id"].to_pylist())
    assert found == ["broken", "n" * 100 + "...", "one", "three", "two"]
    assert selection.summaries() == ["left out 2 files that archive.include does not name"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_two_inputs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.jpg", b"first")
        archive.writestr("x.jpg", b"second")
    rows = list_images([str(tmp_path)]).to_pylist()
    assert [row["source"].rpartition("!/")[2] for row in rows] == ["x.jpg", "x.jpg#2"]
    with ArchiveReader(MIB) as reader:
        assert [reader.read(row) for row in rows] == [b"first", b"second"]


def test_an_archive_in_an_archive_is_rejected_as_such(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"a.jpg": b"a"}).read_bytes()
    (tmp_path / "inner.zip").unlink()
    write_zip(tmp_path / "outer.zip", {"inner.zip": inner, "b.jpg": b"b"})
    write_tar(tmp_path / "outer.tar", {"deep/inner.tar.gz": inner})
    found = contents([tmp_path])
    assert found == {"inner": "nested_archive", "b": b"b", "inner.tar": "nested_archive"}
    # Before it has met any metadata, and where it is wanted at all.
    listed = list_images([str(tmp_path)])
    assert listed["reason"].to_pylist().count("nested_archive") == 2
    some = list_images([str(tmp_path)], selection=Selection(include=["*.jpg"]))
    assert some["image_id"].to_pylist() == ["b"]


def test_long_and_foreign_names_are_kept(tmp_path: Path) -> None:
    name = "皮膚/" + "é" * 100 + ".jpg"
    write_zip(tmp_path / "a.zip", {name: b"zip"})
    write_tar(tmp_path / "b.tar", {name: b"tar"})
    rows = list_images([str(tmp_path)]).to_pylist()
    assert {row["source"].rpartition("!/")[2] for row in rows} == {name}
    with ArchiveReader(MIB) as reader:
        assert [reader.read(row) for row in rows] == [b"zip", b"tar"]


def test_an_archive_that_vanishes_while_it_is_read_gives_rejects(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", {"a.jpg": b"a"})
    (entry,) = list_images([str(archive)]).to_pylist()
    archive.unlink()
    with ArchiveReader(MIB) as reader, pytest.raises(RejectedImage, match="vanished"):
        reader.read(entry)


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(("size", "most"), [(24_000, 8), (3_000_000, 60)])
def test_the_headers_of_a_tar_in_an_object_store_cost_few_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, most: int
) -> None:
    """Of small members many come with one request; of large ones nothing but their headers."""
    tar = write_tar(tmp_path / "a.tar", {f"I{n:03}.jpg": bytes(size) for n in range(40)})
    asked: list[int] = []
    read_at = StorageFile.read_at

    def counted(file: StorageFile, count: int, offset: int) -> bytes:
        found = read_at(file, count, offset)
        asked.append(len(found))
        return found

    near = list_images([str(tar)])
    monkeypatch.setattr(StorageFile, "is_local", False)
    monkeypatch.setattr(StorageFile, "read_at", counted)
    assert list_images([str(tar)]) == near
    assert near["image_id"].to_pylist() == [f"I{n:03}" for n in range(40)]
    assert len(asked) < most
    assert sum(asked) < 12 * 2**20


def test_one_name_that_is_no_uri_costs_no_other_image_of_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")

    def locate(name: str) -> tuple[fs.FileSystem, str]:
        if " " in name:
            raise ValueError(f"Cannot parse URI: '{name}'")
        return fs.LocalFileSystem(), str(tmp_path / name.rpartition("/")[2])

    monkeypatch.setattr("skinclf.archives.lists.locate", locate)
    found = list(files_named(["gs://bucket/my a.jpg", "gs://bucket/a.jpg"]))
    assert [(file.name, file.reason) for file in found] == [
        ("my a.jpg", "unreadable"),
        ("a.jpg", None),
    ]


def test_one_name_that_the_storage_refuses_costs_no_other_image_of_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def get_file_info(self, asked: str | list[str]) -> Any:
            if "denied" in str(asked):
                raise OSError("AWS Error ACCESS_DENIED during HeadObject operation")
            return fs.LocalFileSystem().get_file_info(asked)

    (tmp_path / "a.jpg").write_bytes(b"x")
    monkeypatch.setattr(
        "skinclf.archives.lists.locate",
        lambda name: (Refusing(), str(tmp_path / name.rpartition("/")[2])),
    )
    found = list(files_named(["s3://bucket/a.jpg", "s3://bucket/denied.jpg", "s3://bucket/b.jpg"]))
    assert [(file.name, file.reason) for file in found] == [
        ("a.jpg", None),
        ("denied.jpg", "unreadable"),
        ("b.jpg", "vanished"),
    ]


def test_a_glob_that_finds_anything_takes_no_table_or_text_for_a_list(tmp_path: Path) -> None:
    for name in ("a.jpg", "LICENSE.txt", "meta.csv"):
        (tmp_path / name).write_text("a licence, or a table")
    (tmp_path / "list.txt").write_text("a.jpg\n")
    found = list_images([f"{tmp_path}/*"], leave_out=[f"{tmp_path}/meta.csv"])
    assert sorted(found["image_id"].to_pylist()) == ["LICENSE", "a", "list"]
    assert list_images([f"{tmp_path}/li*.txt"])["image_id"].to_pylist() == ["a"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", b"\xff\xfea"),  # UTF-16 that ends within a letter
        ("list.csv", b"uri," + b"x" * 200_000),
    ],
)
def test_a_damaged_list_is_an_error_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArchiveError, match=name):
        list_images([str(tmp_path / name)])


def test_hadoop_s_form_of_a_local_uri_may_be_in_a_list(tmp_path: Path) -> None:
    (tmp_path / "a b.jpg").write_bytes(b"image")
    (tmp_path / "list.txt").write_text(f"file:{tmp_path}/a%20b.jpg\n")
    (row,) = list_images([str(tmp_path / "list.txt")]).to_pylist()
    assert (row["image_id"], row["reason"]) == ("a b", None)


def test_an_archive_that_is_the_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"score\.output: \S+ is the archive itself"):
        check_apart([f"{tmp_path}/"], str(tmp_path), "score.output")
    (tmp_path / "link").symlink_to(tmp_path)
    for archive, output in (
        (f"file://{tmp_path}", str(tmp_path)),
        (f"{tmp_path}/link", str(tmp_path)),
        ("s3://b/x", "s3://b/x/"),
    ):
        with pytest.raises(ConfigError):
            check_apart([archive], output, "score.output")
    check_apart([str(tmp_path)], f"{tmp_path}/scores", "score.output")
