import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skinclf.archives import list_images, thumbnails
from skinclf.archives.thumbnails import SIDE, Thumbnail
from skinclf.config.schema import ArchiveConfig
from skinclf.errors import StorageUnavailable
from tests.support.images import jpeg, write_zip

LIMITS = ArchiveConfig()


def found(entries: list[dict[str, Any]], limits: ArchiveConfig = LIMITS) -> dict[str, Thumbnail]:
    """Name of the file → thumbnail."""
    pictures = thumbnails.thumbnails(entries, limits)
    return {source.rpartition("/")[2]: thumbnail for source, thumbnail in pictures}


def listed(*paths: Path) -> list[dict[str, Any]]:
    return list_images([str(path) for path in paths]).to_pylist()


def test_files_and_members_become_small_jpegs_that_show_all_of_the_picture(tmp_path: Path) -> None:
    (tmp_path / "wide.jpg").write_bytes(jpeg((200, 30, 30), (400, 200)))
    write_zip(tmp_path / "a.zip", {"tall.jpg": jpeg((30, 30, 200), (100, 400))})
    pictures = found(listed(tmp_path))
    assert set(pictures) == {"wide.jpg", "tall.jpg"}
    wide, tall = (
        np.asarray(Image.open(io.BytesIO(pictures[name].jpeg or b"")))
        for name in ("wide.jpg", "tall.jpg")
    )
    assert wide.shape == tall.shape == (SIDE, SIDE, 3)
    assert np.abs(wide[SIDE // 2, 5].astype(int) - [200, 30, 30]).max() < 12
    assert wide[5, SIDE // 2].min() > 240  # white above it
    assert np.abs(tall[5, SIDE // 2].astype(int) - [30, 30, 200]).max() < 12
    assert tall[SIDE // 2, 5].min() > 240


def test_a_file_that_is_gone_or_another_or_no_image_says_so(tmp_path: Path) -> None:
    for name in ("gone", "another", "broken", "large"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg())
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "large.jpg").write_bytes(jpeg((1, 2, 3), (300, 300)))
    write_zip(tmp_path / "a.zip", {"member.jpg": jpeg()})
    entries = listed(tmp_path)
    (tmp_path / "gone.jpg").unlink()
    (tmp_path / "another.jpg").write_bytes(jpeg((0, 0, 0), (90, 90)))
    write_zip(tmp_path / "a.zip", {"member.jpg": jpeg((0, 0, 0), (90, 90))})
    pictures = found(entries, LIMITS.model_copy(update={"max_pixels": 80_000}))
    assert {name: thumbnail.reason for name, thumbnail in pictures.items()} == {
        "gone.jpg": "vanished",
        "another.jpg": "changed",
        "broken.jpg": "unreadable",
        "large.jpg": "too_large",
        "member.jpg": "changed",
    }
    assert all(picture.jpeg is None and picture.detail for picture in pictures.values())


def test_what_spark_had_listed_is_read_without_it(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (entry,) = listed(tmp_path)
    changed, _, size = entry["version"].partition("-")
    entry |= {"kind": "spark", "version": f"{int(changed) // 1000 * 1000}-{size}"}
    assert found([entry])["a.jpg"].jpeg
    (tmp_path / "a.jpg").write_bytes(jpeg((0, 0, 0), (90, 90)))
    assert found([entry])["a.jpg"].reason == "changed"
    there_for_spark_alone = dict.fromkeys(("file", "source"), "wasbs://photos@clinic/a.jpg")
    assert found([entry | there_for_spark_alone])["a.jpg"].reason == "unreadable"


def test_a_storage_that_fails_again_and_again_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Failing:
        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> "Failing":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def rows(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
            asked.append(entries[0]["source"])
            return [{"reason": "storage_error", "detail": str(StorageUnavailable("gone"))}]

    monkeypatch.setattr(thumbnails, "IsolatedDecoder", Failing)
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg())
    pictures = found(listed(tmp_path))
    assert len(asked) == 3
    assert {picture.reason for picture in pictures.values()} == {"storage_error"}
    assert len(pictures) == 6


def test_members_of_an_archive_that_grew_are_found_at_their_new_places(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"old.jpg": jpeg(), "other.jpg": jpeg((200, 0, 0))})
    entries = listed(tmp_path)
    first = {"new.jpg": jpeg((1, 2, 3)), "old.jpg": jpeg(), "other.jpg": jpeg((0, 200, 0))}
    write_zip(tmp_path / "a.zip", first)
    pictures = found(entries)
    assert pictures["old.jpg"].jpeg
    assert pictures["other.jpg"].reason == "changed"


def test_archives_on_a_storage_that_is_gone_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        write_zip(tmp_path / f"{number}.zip", {"a.jpg": jpeg((number, 0, 0))})
    entries = listed(tmp_path)
    asked = []

    class Gone:
        def __init__(self, name: str) -> None:
            asked.append(name)
            raise StorageUnavailable("gone")

    monkeypatch.setattr(thumbnails, "StorageFile", Gone)
    monkeypatch.setattr(
        "skinclf.archives.thumbnails._thumbnail",
        lambda *_: thumbnails.Thumbnail(None, "storage_error", "gone"),
    )
    list(thumbnails.thumbnails(entries, LIMITS))
    assert len(asked) == 3


def test_a_file_that_was_compared_by_content_and_is_another_now_says_so(tmp_path: Path) -> None:
    for name in ("same", "other"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg())
    digest = hashlib.sha256(jpeg()).hexdigest()
    entries = [entry | {"version": digest} for entry in listed(tmp_path)]
    (tmp_path / "other.jpg").write_bytes(jpeg((0, 0, 0)))
    (tmp_path / "same.jpg").write_bytes(jpeg())  # at another time
    pictures = found(entries)
    assert pictures["same.jpg"].jpeg
    assert pictures["other.jpg"].reason == "changed"
