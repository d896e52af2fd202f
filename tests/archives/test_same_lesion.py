from collections.abc import Sequence
from pathlib import Path

import pytest

from skinclf.archives.metadata import read_metadata
from skinclf.archives.same_lesion import SameLesions, read_groups
from skinclf.errors import MetadataError
from skinclf.spec.taxonomy import HAM10000
from tests.support.repository import REAL_DATA


def merged(groups: list[list[str]], rows: Sequence[tuple[str, str | None]]) -> dict[str, str]:
    same = SameLesions(groups)
    for row in rows:
        same.add(*row)
    return same.merged()


def test_lesions_of_two_images_of_a_group_become_the_first_by_name() -> None:
    rows = [("I1", "L2"), ("I2", "L1"), ("I3", "L2"), ("I4", "L9")]
    assert merged([["I1", "I2"]], rows) == {"L1": "L1", "L2": "L1"}


def test_groups_that_meet_are_one() -> None:
    rows = [("I1", "L1"), ("I2", "L2"), ("I3", "L3")]
    assert merged([["I1", "I2"], ["L3", "L2"]], rows) == dict.fromkeys(("L1", "L2", "L3"), "L1")
    # They meet in a lesion that neither names.
    rows = [("I1", "L1"), ("I2", "L2"), ("I3", "L2"), ("I4", "L4")]
    assert merged([["I1", "I2"], ["I3", "I4"]], rows) == dict.fromkeys(("L1", "L2", "L4"), "L1")


def test_a_lesion_may_have_as_many_images_as_it_likes() -> None:
    """In a second: without short ways to the one that stands for all, this takes minutes."""
    images = [f"I{n:06}" for n in range(40_000)]
    found = merged([images], [(name, None) for name in images])
    assert found == dict.fromkeys(images, images[0])


def test_images_without_a_lesion_are_lesions_of_their_own() -> None:
    assert merged([["I1", "I2"]], [("I2", None), ("I1", None)]) == {"I1": "I1", "I2": "I1"}


def test_ids_without_a_row_change_nothing_and_are_told() -> None:
    same = SameLesions([["I1", "I7"]])
    same.add("I1", "L1")
    assert same.merged() == {}
    assert same.unknown == {"I7"}


def test_a_list_has_comments_and_groups_of_any_length(tmp_path: Path) -> None:
    file = tmp_path / "same.csv"
    file.write_text('\ufeff# pairs\na.JPG,nv/b\n\n"c,d", e.1 ,f\n')  # as Excel does
    assert read_groups(str(file)) == [["a", "nv/b"], ["c,d", "e.1", "f"]]
    assert read_groups("") == []
    assert len(read_groups("ham10000")) == 18


@pytest.mark.parametrize(
    "content", [b"a;b\nc;d;e\n", b"a\tb\nc\td\te\n", "a,b\nc,d,e\n".encode("utf-16")]
)
def test_a_list_is_read_as_spreadsheets_write_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "same.csv"
    file.write_bytes(content)
    assert read_groups(str(file)) == [["a", "b"], ["c", "d", "e"]]


@pytest.mark.parametrize(
    ("text", "told"),
    [("a\n", "line 1: two or more"), ("a,a\n", "line 1"), ('a,b\n"c,d\n', "line 2: unexpected")],
)
def test_a_group_of_one_is_an_error(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "same.csv"
    file.write_text(text)
    with pytest.raises(MetadataError, match=told):
        read_groups(str(file))


def test_a_list_that_is_not_there_is_an_error() -> None:
    with pytest.raises(MetadataError, match=r"archive.same_lesion: nowhere.csv can't be read"):
        read_groups("nowhere.csv")


@pytest.mark.skipif(not REAL_DATA.exists(), reason="needs the real HAM10000")
def test_the_pairs_of_ham10000_are_of_two_lesions_each() -> None:
    path = str(REAL_DATA / "ham10000" / "HAM10000_metadata.csv")
    same = SameLesions(read_groups("ham10000"))
    for row in read_metadata(path, HAM10000):
        assert isinstance(row, dict)
        same.add(row["image_id"], row["lesion_id"])
    merged_lesions = same.merged()
    assert (len(merged_lesions), len(set(merged_lesions.values()))) == (36, 18)
    assert not same.unknown


def test_a_line_that_is_no_csv_is_told_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text(f"a,b\nc,{'d' * 200_000}\n")
    with pytest.raises(MetadataError, match="line 2: field larger than"):
        read_groups(str(tmp_path / "groups.csv"))
