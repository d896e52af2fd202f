import csv
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from skinclf.errors import UsageError
from skinclf.stages.demo import MARK, _empty
from skinclf.testing.archive import METADATA, ZIPS, make_archive


def test_the_archive_has_ham10000_s_form(tmp_path: Path) -> None:
    make_archive(tmp_path, 140)
    members = [
        name for zip_name in ZIPS for name in zipfile.ZipFile(tmp_path / zip_name).namelist()
    ]
    with (tmp_path / METADATA).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 140
    assert abs(len(members) - 140) <= 2
    assert len({row["lesion_id"] for row in rows}) < 120  # repeat photographs
    assert any(row["age"] == "" for row in rows)


def test_the_same_archive_is_drawn_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_archive(tmp_path / name, 100)
    for file in (*ZIPS, METADATA):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.faults
def test_the_demo_takes_an_archive_all_the_way(tmp_path: Path) -> None:
    done = subprocess.run(
        ["skinclf", "demo", "--folder", str(tmp_path / "demo"), "--images", "400"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = dict(re.findall(r"│ ([a-z ]+?) +│ +([\d.,]+)", done.stdout))
    assert int(table["inputs"]) == int(table["tensors"]) + int(table["rejects"])
    assert table["rejects"] == "7"
    assert int(table["images scored"]) > 390
    assert float(table["balanced accuracy"]) > 50  # percent; 1/7 is the baseline: it has learned
    report = done.stdout.strip().rpartition("report: ")[2]
    assert Path(report).exists()


def test_a_demo_s_folder_may_be_a_link_and_holds_nothing_of_the_one_before(tmp_path: Path) -> None:
    scratch, link = tmp_path / "scratch", tmp_path / "demo"
    scratch.mkdir()
    link.symlink_to(scratch)
    _empty(link)
    (scratch / "run").mkdir()
    (scratch / "run" / "model.keras").write_bytes(b"old")
    _empty(link)
    assert [path.name for path in scratch.iterdir()] == [MARK]
    (scratch / MARK).unlink()
    (scratch / "mine").touch()
    with pytest.raises(UsageError, match="no demo made it"):
        _empty(link)
    with pytest.raises(UsageError, match="is no folder"):
        _empty(scratch / "mine")
