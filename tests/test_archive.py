import zipfile
from pathlib import Path

import pytest

from skinclf.archive import ArchiveReader, list_images
from skinclf.errors import ArchiveError, RejectedImage
from tests.conftest import jpeg, write_zip

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


def test_the_source_names_the_member_inside_the_archive(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    write_zip(folder / "ä.zip", {"ISIC_1.jpg": b"x"})
    (row,) = list_images([str(folder)]).to_pylist()
    assert row["source"] == f"{(folder / 'ä.zip').as_uri()}!/ISIC_1.jpg"
    assert contents([folder]) == {"ISIC_1": b"x"}


def test_a_file_listed_by_two_paths_counts_once(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"1")
    assert list_images([str(tmp_path), str(tmp_path / "one.jpg")]).num_rows == 1


def test_globs_and_what_is_left_out(tmp_path: Path) -> None:
    for name in ("part_1.jpg", "part_2.jpg", "other.jpg"):
        (tmp_path / name).write_bytes(b"x")
    glob = str(tmp_path / "part_*.jpg")
    listed = list_images([glob], leave_out=[str(tmp_path / "part_2.jpg"), ""])
    assert listed["image_id"].to_pylist() == ["part_1"]


def test_a_broken_member_is_unreadable_and_its_neighbours_are_not(tmp_path: Path) -> None:
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


def test_an_encrypted_member_is_unreadable(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.jpg": b"A"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # general purpose flag bit 0 in the directory
    archive.write_bytes(raw)
    assert contents([archive]) == {"a": "unreadable"}


def test_a_file_that_vanished_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (entry,) = list_images([str(tmp_path)]).to_pylist()
    (tmp_path / "a.jpg").unlink()
    with ArchiveReader(MIB) as reader, pytest.raises(RejectedImage) as caught:
        reader.read(entry)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("path", ["nowhere", "nowhere/*.zip"])
def test_a_path_that_is_not_there_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(ArchiveError, match="nowhere"):
        list_images([str(tmp_path / path)])


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no files in"):
        list_images([str(tmp_path)])
