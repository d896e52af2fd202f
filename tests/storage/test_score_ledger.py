"""The account of a folder of scores, without Spark: a job ends at every step that it takes."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skinclf.errors import CheckError, OwnershipLost, UsageError
from skinclf.storage import score_ledger
from skinclf.storage.parquet_files import read_rows
from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_ledger import ScoreLedger, to_merge
from skinclf.storage.score_manifest import (
    ListingFile,
    Manifest,
    Piece,
    TableFile,
    read_manifest,
)
from skinclf.storage.score_view import (
    read_rejects,
    read_scores,
    rows_of_listing,
    scan_rejects,
    scan_scores,
    score_files,
)
from tests.support.score_job import EXPECTED, Job, outcomes


def tries(rows: list[dict[str, Any]]) -> dict[str, str]:
    """source → try; each source once."""
    found = {row["source"]: row["image_id"] for row in rows}
    assert len(found) == len(rows)
    return found


def exact(path: str) -> dict[str, str]:
    """What both tables hold by the manifest."""
    return tries(read_scores(path).to_pylist() + read_rejects(path).to_pylist())


def plain(path: str) -> list[str]:
    """The sources in all files of both folders, as any reader of Parquet sees them."""
    files = [file for table in ("scores", "rejects") for file in Path(path, table).glob("*")]
    return [source for file in files for source in pq.read_table(file)["source"].to_pylist()]


@pytest.fixture(autouse=True)
def _merging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four files are many; and no test waits for the disk."""
    monkeypatch.setattr(score_ledger, "MERGED_AT_ONCE", 4)
    monkeypatch.setattr("skinclf.storage.files._sync", lambda _: None)


def test_a_manifest_of_another_job_is_not_replaced(tmp_path: Path) -> None:
    """The clocks of two machines, or a share that failed, may let both own the folder."""
    folder = ScoreFolder(str(tmp_path))
    first, second = ScoreLedger(folder), ScoreLedger(folder)
    second.add_listing([])
    with pytest.raises(OwnershipLost, match="another job has written scores here"):
        first.add_listing([])
    assert read_manifest(folder) == second.manifest


STEPS = ("write_manifest", "write_parquet", "move", "delete_files")


def watch_steps(monkeypatch: pytest.MonkeyPatch, then: Callable[[int, str], None]) -> None:
    """Call `then` with its number and name after each step of a job that writes."""
    numbers = count(1)

    def watched(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*arguments: Any, **options: Any) -> Any:
            found = step(*arguments, **options)
            then(next(numbers), name)
            return found

        return taken

    for name in STEPS:
        monkeypatch.setattr(score_ledger, name, watched(name, getattr(score_ledger, name)))


def test_every_input_is_there_once_with_its_last_outcome(tmp_path: Path) -> None:
    ledger = Job(str(tmp_path)).run()
    assert exact(str(tmp_path)) == EXPECTED
    assert sorted(plain(str(tmp_path))) == sorted(EXPECTED)
    assert ledger.manifest.predicted == {"nv": 9}
    assert ledger.manifest.reasons == {"empty": 5}
    assert (ledger.manifest.inputs, ledger.manifest.done) == (14, 19)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("listing", "manifests", "scores", "rejects")
    }
    assert len(list((tmp_path / "scores").iterdir())) == 1
    assert len(list((tmp_path / "manifests").iterdir())) == 2


def test_what_is_committed_is_in_both_views_after_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the manifest nothing is twice; for who reads the folder, only between the move of a file
    and the next deletion.
    """
    taken: list[str] = []

    def look(_: int, name: str) -> None:
        taken.append(name)
        shown = plain(str(tmp_path))
        if read_manifest(ScoreFolder(str(tmp_path))).scores:
            assert set(exact(str(tmp_path))) <= set(shown)
        assert name == "move" or len(shown) == len(set(shown)), taken

    watch_steps(monkeypatch, look)
    Job(str(tmp_path)).run()
    assert len(taken) > 40


def test_a_job_that_ends_after_any_step_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of 19 rows in micro-batches of two, at most two more are computed."""
    computed = [0]
    add = ScoreLedger.add

    def counted_add(ledger: ScoreLedger, rows: pa.Table, *, again: bool) -> dict[str, int]:
        computed[0] += rows.num_rows
        return add(ledger, rows, again=again)

    monkeypatch.setattr(ScoreLedger, "add", counted_add)
    for last in count(1):
        path, computed[0] = tmp_path / str(last), 0

        def end(step: int, _: str, last: int = last) -> None:
            if step == last:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            watch_steps(patch, end)
            Job(str(path)).run()
            break
        ledger = Job(str(path)).run()
        assert exact(str(path)) == EXPECTED, f"ended after step {last}"
        assert sorted(plain(str(path))) == sorted(EXPECTED)
        assert computed[0] <= 19 + 2
        assert not Path(ledger.folder.pending).exists()
        named = {file.name for file in ledger.manifest.listing}
        assert {file.name for file in Path(ledger.folder.listing).iterdir()} == named
    assert last > 40


def test_an_input_keeps_its_earlier_outcome_until_the_new_one_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScoreLedger, "replace", lambda _: None)
    ledger = ScoreLedger(ScoreFolder(str(tmp_path)))
    job = Job(str(tmp_path))
    job.list(ledger, {False: range(4)}, 1)
    job.score(ledger)
    job.list(ledger, {True: (1, 2)}, 2)
    job.score(ledger)
    assert exact(str(tmp_path)) == {f"s{n:02}": "1" for n in range(4)}
    monkeypatch.undo()
    ScoreLedger(ledger.folder).replace()
    assert exact(str(tmp_path)) == {"s00": "1", "s01": "2", "s02": "2", "s03": "1"}


def test_what_was_lost_is_noticed_by_the_closing_count(tmp_path: Path) -> None:
    ledger = Job(str(tmp_path)).run()
    (file,) = (tmp_path / "scores").iterdir()
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(CheckError, match="14 inputs listed but 8 scores \\+ 5 rejects"):
        ledger.finish()


def test_files_of_somebody_else_s_stay(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "notes.txt").write_text("mine")
    Job(str(tmp_path)).run()
    assert (tmp_path / "scores" / "notes.txt").exists()


@pytest.mark.parametrize("name", ["checkpoint", "done", "listing/generation=0000"])
def test_a_folder_of_an_earlier_version_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UsageError, match=r"earlier version of skinclf.*score\.output.*remove"):
        ScoreFolder(str(tmp_path)).check()


def test_a_manifest_of_another_version_or_damaged_is_told(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    manifest = tmp_path / "manifests" / "00000001.json"
    for text, told in (('{"format": 9}', "its format is 9, 1 is expected"), ("{}", "None, 1 is")):
        manifest.write_text(text)
        with pytest.raises(UsageError, match=told):
            ScoreLedger(ScoreFolder(str(tmp_path)))
    with pytest.raises(UsageError, match="no scores here"):
        score_files(str(tmp_path / "elsewhere"))


# Which files are merged, and which rows are a micro-batch


MB = 2**20


def files(*megabytes: int) -> list[TableFile]:
    return [TableFile(name=str(n), rows=1, bytes=size * MB) for n, size in enumerate(megabytes)]


@pytest.mark.parametrize(
    ("sizes", "closing", "expected"),
    [
        ([1] * 15, False, []),
        ([1] * 16, False, [1] * 16),
        ([1] * 40, False, [1] * 16),
        ([1, 1], True, [1, 1]),
        ([1], True, []),
        ([100, 1], True, []),
        ([20] * 6, False, []),
        ([20] * 7, False, [20] * 7),
        ([20] * 9, False, [20] * 7),
        ([8] * 16, False, [8] * 16),
        ([64, 127, 200, 20], False, []),
        ([63, 63, 63], False, [63, 63, 63]),
    ],
)
def test_small_files_are_merged_and_large_ones_stay(
    sizes: list[int], *, closing: bool, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_ledger, "MERGED_AT_ONCE", 16)
    found = to_merge(files(*sizes), closing=closing)
    assert [file.bytes // MB for file in found] == expected


def stored(sizes: Iterator[int]) -> list[int]:
    """The sizes of the files after files of `sizes` came one by one."""
    held: list[TableFile] = []
    for size in sizes:
        held += files(size)
        while group := to_merge(held):
            merged = sum(file.bytes for file in group)
            for file in group:
                held.remove(file)
            held.append(TableFile(name="", rows=1, bytes=merged))
    return [file.bytes // MB for file in held]


def test_the_number_of_files_follows_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 GB of scores, in micro-batches of 1 MB and of 50 MB."""
    monkeypatch.setattr(score_ledger, "MERGED_AT_ONCE", 16)
    for sizes in ([1] * 4096, [50] * 80):
        held = stored(iter(sizes))
        large = [size for size in held if size >= 64]
        assert sum(held) == sum(sizes)
        assert len(held) <= 4096 / 128 + 30
        assert all(100 <= size <= 200 for size in large)


def test_a_micro_batch_does_not_mix_new_inputs_with_those_listed_again() -> None:
    manifest = Manifest(
        listing=(
            ListingFile(name="a", rows=5),
            ListingFile(name="b", rows=4),
            ListingFile(name="c", rows=3, again=True),
        ),
        done=3,
    )
    assert manifest.next_batch(4) == ([Piece("a", 3, 2), Piece("b", 0, 2)], False)
    assert manifest.next_batch(100) == ([Piece("a", 3, 2), Piece("b", 0, 4)], False)
    after = manifest.model_copy(update={"done": 10})
    assert after.next_batch(1) == ([Piece("c", 1, 1)], True)
    assert after.model_copy(update={"done": 12}).next_batch(1) == ([], False)


def test_scores_and_rejects_are_scanned_in_row_groups_as_the_manifest_has_them(
    tmp_path: Path,
) -> None:
    Job(str(tmp_path)).run()

    def rows(tables: Iterator[pa.Table]) -> list[dict[str, Any]]:
        return [row for table in tables for row in table.to_pylist()]

    path = str(tmp_path)
    assert tries(scan_scores(path, rows) + scan_rejects(path, rows)) == EXPECTED
    with pytest.raises(UsageError, match="no scores here"):
        scan_scores(str(tmp_path / "elsewhere"), rows)


def test_of_a_source_that_was_listed_twice_the_last_row_is_found(tmp_path: Path) -> None:
    Job(str(tmp_path)).run()
    found = rows_of_listing(str(tmp_path), ["s01", "s05", "nowhere"])
    assert {row["source"]: row["try"] for row in found} == {"s01": 2, "s05": 1}


def test_a_job_that_lost_its_folder_deletes_nothing_of_the_next_one(tmp_path: Path) -> None:
    """It was suspended while another machine took the folder over."""

    def lost() -> None:
        raise OwnershipLost("another job has taken this folder")

    job = Job(str(tmp_path))
    frozen = ScoreLedger(ScoreFolder(str(tmp_path)), lambda: None)
    next_one = ScoreLedger(frozen.folder)
    job.list(next_one, {False: range(4)}, 1)
    job.score(next_one)
    frozen._check_owner = lost
    with pytest.raises(OwnershipLost):
        frozen.finish()
    with pytest.raises(OwnershipLost):
        frozen._publish()
    assert exact(str(tmp_path)) == {f"s{n:02}": "1" for n in range(4)}


def test_storage_that_is_not_reached_is_no_fault_of_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Job(str(tmp_path)).run()

    def unreached(path: str) -> object:
        raise OSError("When reading: AWS Error NETWORK_CONNECTION during HeadObject operation")

    monkeypatch.setattr("skinclf.storage.score_manifest.read_json", unreached)
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        ScoreLedger(ScoreFolder(str(tmp_path)))


@pytest.mark.parametrize("is_listed", [True, False])
def test_an_owner_that_was_suspended_between_its_check_and_its_commit_commits_nothing(
    tmp_path: Path, is_listed: bool
) -> None:
    """Its file is deleted as a stray by then: a manifest that names it could never be opened."""
    job, folder = Job(str(tmp_path)), ScoreFolder(str(tmp_path))
    if is_listed:
        job.list(ScoreLedger(folder), {False: range(4)}, 1)
    frozen = ScoreLedger(folder)
    next_one = ScoreLedger(folder)
    with pytest.raises(OwnershipLost):
        job.score(frozen) if is_listed else job.list(frozen, {False: range(4)}, 1)
    if not is_listed:
        job.list(next_one, {False: range(4)}, 1)
    job.score(next_one)
    next_one.finish()
    assert exact(str(tmp_path)) == {f"s{n:02}": "1" for n in range(4)}


def test_scores_whose_manifests_are_lost_are_left_alone(tmp_path: Path) -> None:
    Job(str(tmp_path)).run()
    before = plain(str(tmp_path))
    shutil.rmtree(tmp_path / "manifests")
    with pytest.raises(UsageError, match="Restore that folder, or name another one"):
        ScoreFolder(str(tmp_path)).check()
    assert plain(str(tmp_path)) == before


@pytest.mark.parametrize("done", [0, 3, 5])
def test_what_an_interrupted_job_listed_can_be_dropped_and_is_new_afterwards(
    tmp_path: Path, done: int
) -> None:
    """Five inputs, then three more and two of the first again, of which so many are scored."""
    job, folder = Job(str(tmp_path)), ScoreFolder(str(tmp_path))
    ledger = ScoreLedger(folder)
    job.list(ledger, {False: range(5)}, 1)
    job.score(ledger)
    job.list(ledger, {False: range(5, 8), True: (1, 2)}, 2)
    left = done
    while left:
        pieces, again = ledger.next_batch(left)
        listed = pa.concat_tables([read_rows(*piece) for piece in pieces]).to_pylist()
        left -= len(listed)
        ledger.add(outcomes(listed), again=again)
    assert ledger.drop_waiting() == 5 - done
    assert ledger.waiting == 0
    job.score(ledger)  # what is pending takes its place
    ledger.finish()
    assert len(exact(str(tmp_path))) == 5 + min(done, 3)
    known = rows_of_listing(str(tmp_path), [f"s{n:02}" for n in range(8)])
    tries = {row["source"]: row["try"] for row in known}
    assert tries == {f"s{n:02}": 1 for n in range(5)} | dict.fromkeys(
        ("s05", "s06", "s07", "s01", "s02")[:done], 2
    )
    names = {file.name for file in ledger.manifest.listing}
    assert {path.name for path in Path(folder.listing).iterdir()} == names


def test_columns_that_are_not_there_and_files_that_are_gone_or_damaged_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinclf.storage.score_view.PAUSE", 0.0)
    Job(str(tmp_path)).run()
    assert read_scores(tmp_path, ["source"]).num_columns == 1  # by a Path, too
    with pytest.raises(UsageError, match="there is no 'sauce'; there are source, image_id"):
        read_scores(str(tmp_path), ["source", "sauce"])
    (scores,) = (tmp_path / "scores").iterdir()
    listing = next((tmp_path / "listing").iterdir())
    for file, read in (
        (scores, lambda: read_scores(str(tmp_path))),
        (listing, lambda: rows_of_listing(str(tmp_path), ["s01"])),
    ):
        content = file.read_bytes()
        damaged = [content[:-4] + b"nope"]
        if file == scores:  # of a listing, what is not searched is not read
            damaged.append(content[:4] + bytes(60) + content[64:])
        for each in damaged:
            file.write_bytes(each)
            with pytest.raises(UsageError, match=f"{file.name}: is damaged"):
                read()
        file.unlink()
        with pytest.raises(UsageError, match=f"names a file that is gone.*{file.name}"):
            read()
        if file == scores:
            with pytest.raises(UsageError, match=f"names a file that is gone.*{file.name}"):
                score_files(tmp_path)
        file.write_bytes(content)
