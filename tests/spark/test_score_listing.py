"""What is new or changed in an archive, found directly and by Spark."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.archives import LISTING, ArchiveReader, list_images
from skinclf.spark import score_listing, score_tasks
from skinclf.spark.content_check import _version
from skinclf.spark.score_listing import list_new
from skinclf.spark.score_tasks import cut
from skinclf.spec.tables import outcomes_schema
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.parquet_files import iter_tables, read_rows
from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_ledger import ScoreLedger
from skinclf.storage.score_manifest import Piece


def row(name: str, version: str = "1", member: int | None = None) -> dict[str, Any]:
    found = {"source": name, "image_id": name, "file": name.partition("!")[0], "kind": "file"}
    place = {"member": member, "offset": member, "version": version}
    return dict.fromkeys(LISTING.names) | found | place


def listed(ledger: ScoreLedger, last: int = 0) -> list[tuple[str, str, bool]]:
    """(source, version, again) of the listing from its file `last` on, in its order."""
    return [
        (found["source"], found["version"], file.again)
        for file in ledger.manifest.listing[last:]
        for part in iter_tables(ledger.listing_file(file.name))
        for found in part.to_pylist()
    ]


def score_all(ledger: ScoreLedger, rejects: dict[str, str]) -> None:
    """Commit an outcome for all that is listed; `rejects`: source → reason."""
    while True:
        pieces, again = ledger.next_batch(100)
        if not pieces:
            break
        rows = pa.concat_tables([read_rows(*piece) for piece in pieces])["source"].to_pylist()
        outcomes = [
            {"source": s} | ({"reason": rejects[s]} if s in rejects else {"predicted": "nv"})
            for s in rows
        ]
        schema = outcomes_schema(HAM10000)
        ledger.add(pa.Table.from_pylist(outcomes, schema=schema), again=again)
    ledger.replace()


@pytest.fixture(params=["directly", "by Spark"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ScoreLedger:
    if request.param == "by Spark":
        monkeypatch.setattr(score_listing, "FEW_ROWS", 1)
        monkeypatch.setattr(score_listing, "ROWS_A_FILE", 2)
    return ScoreLedger(ScoreFolder(str(tmp_path)))


def archive() -> list[dict[str, Any]]:
    """Four files, and two members of one name."""
    return [row(f"f{n}") for n in range(4)] + [row("z!/m", member=n) for n in (1, 0)]


def test_what_is_new_or_changed_or_to_be_tried_again_is_listed(
    spark: SparkSession, ledger: ScoreLedger
) -> None:
    """New inputs first, then those listed before, each in the order of file and offset."""
    assert list_new(spark, [*archive(), row("f0")], ledger) == (6, 0)
    sources = ["f0", "f1", "f2", "f3", "z!/m", "z!/m#2"]
    assert listed(ledger) == [(source, "1", False) for source in sources]
    score_all(ledger, {"f2": "crashed", "f3": "storage_error", "z!/m": "empty"})

    last = len(ledger.manifest.listing)

    def grown() -> list[dict[str, Any]]:
        return [row("f1", "2"), *archive()[:1], *archive()[2:], row("a")]

    assert list_new(spark, grown(), ledger, retry=["crashed"]) == (4, 3)
    expected = [("a", "1", False), ("f1", "2", True), ("f2", "1", True), ("f3", "1", True)]
    assert listed(ledger, last) == expected
    assert (ledger.manifest.inputs, ledger.manifest.listed) == (7, 10)
    score_all(ledger, {"f2": "crashed"})
    assert ledger.manifest.reasons == {"crashed": 1, "empty": 1}

    assert list_new(spark, grown(), ledger) == (0, 0)
    assert list_new(spark, archive(), ledger)[1] == 1  # f1 as it was at first is a change, too
    ledger.finish()
    assert not Path(ledger.folder.found).exists()


@pytest.mark.parametrize("limit", [2, 3, 100])
def test_a_limit_takes_the_first(spark: SparkSession, ledger: ScoreLedger, limit: int) -> None:
    assert list_new(spark, archive(), ledger, limit=limit) == (min(limit, 6), 0)
    sources = ["f0", "f1", "f2", "f3", "z!/m", "z!/m#2"]
    assert [source for source, *_ in listed(ledger)] == sources[:limit]
    assert list_new(spark, archive(), ledger) == (6 - min(limit, 6), 0)
    assert len({source for source, *_ in listed(ledger)}) == 6
    names = {file.name for file in ledger.manifest.listing}
    assert {path.name for path in Path(ledger.folder.listing).iterdir()} == names


def test_a_file_that_could_not_be_read_for_its_content_keeps_its_score(
    spark: SparkSession, ledger: ScoreLedger
) -> None:
    """Where the storage fails, nobody knows whether it has changed."""

    def versions(version: str | None) -> Callable[[DataFrame], DataFrame]:
        return lambda found: found.withColumn("version", F.lit(version).cast("string"))

    assert list_new(spark, [row("f0")], ledger, versions=versions("hash")) == (1, 0)
    score_all(ledger, {})
    assert list_new(spark, [row("f0")], ledger, versions=versions(None)) == (0, 0)
    assert list_new(spark, [row("f0"), row("f1")], ledger, versions=versions(None)) == (1, 0)
    assert list_new(spark, [row("f0")], ledger, versions=versions("other")) == (1, 1)


def test_a_file_that_can_t_be_read_when_it_is_found_keeps_its_score(
    spark: SparkSession, ledger: ScoreLedger
) -> None:
    assert list_new(spark, archive(), ledger) == (6, 0)
    score_all(ledger, {})
    gone = row("f0") | {"reason": "vanished", "version": None}
    closed = row("f1") | {"reason": "unreadable", "version": None}
    assert list_new(spark, [gone, closed, *archive()[2:]], ledger) == (0, 0)


def test_what_the_listing_itself_rejects_as_before_is_not_tried_again(
    spark: SparkSession, ledger: ScoreLedger
) -> None:
    gone = row("link") | {"reason": "vanished", "version": None}
    assert list_new(spark, [gone, row("f0")], ledger) == (2, 0)
    score_all(ledger, {"link": "vanished", "f0": "vanished"})  # f0: when it was read
    assert list_new(spark, [gone, row("f0")], ledger) == (1, 1)
    score_all(ledger, {})
    assert list_new(spark, [gone, row("f0")], ledger) == (0, 0)
    assert list_new(spark, [row("link"), row("f0")], ledger) == (1, 1)


def test_many_small_files_of_the_listing_become_one(
    spark: SparkSession, ledger: ScoreLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_listing, "MERGED_AT_ONCE", 4)
    found: list[dict[str, Any]] = []
    for n in range(8):
        found.append(row(f"f{n}"))
        assert list_new(spark, found, ledger) == (1, 0)
        score_all(ledger, {})
    first = ledger.manifest.listing[0]
    found[3] = row("f3", version="2")
    assert list_new(spark, found, ledger) == (1, 1)
    assert [file.rows for file in ledger.manifest.listing] == [1, 7, 1]
    assert ledger.manifest.listing[0] == first
    assert list_new(spark, [*found, row("f8")], ledger) == (1, 0)
    score_all(ledger, {})
    ledger.finish()
    for version in ("3", "4", "5"):  # what was listed last stays the last
        found[3] = row("f3", version=version)
        assert list_new(spark, found, ledger) == (1, 1)
        assert list_new(spark, found, ledger) == (0, 0)
        score_all(ledger, {})
    assert [file.rows for file in ledger.manifest.listing] == [1, 10, 1, 1]
    names = {file.name for file in ledger.manifest.listing}
    assert {path.name for path in Path(ledger.folder.listing).iterdir()} == names


def test_an_empty_archive_lists_nothing(spark: SparkSession, ledger: ScoreLedger) -> None:
    assert list_new(spark, [], ledger) == (0, 0)
    assert ledger.manifest.listing == ()


def test_an_archive_that_has_no_files_any_more_is_warned_of(
    spark: SparkSession, ledger: ScoreLedger, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as a share that is not mounted."""
    assert list_new(spark, [row("f0")], ledger) == (1, 0)
    score_all(ledger, {})
    assert "no files" not in caplog.text
    assert list_new(spark, [], ledger) == (0, 0)
    assert "the archive has no files now, and 1 inputs were listed before" in caplog.text


def test_a_file_that_is_gone_or_locked_has_no_version_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "b.jpg").write_bytes(bytes(2000))
    first, second = list_images([str(tmp_path)]).to_pylist()
    (tmp_path / "a.jpg").unlink()
    with ArchiveReader(1000) as reader:
        assert _version(first, reader, goes_on=False) is None
        assert _version(second, reader, goes_on=False) == second["version"]  # too large
    with ArchiveReader(2000) as reader:
        assert _version(second, reader, goes_on=False) == hashlib.sha256(bytes(2000)).hexdigest()


def test_tasks_get_neighbors_of_equal_number(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [Piece("a", 10, 5), Piece("b", 0, 4)]
    assert cut(pieces, 2) == [[Piece("a", 10, 4)], [Piece("a", 14, 1), Piece("b", 0, 4)]]
    assert cut([Piece("a", 0, 2)], 16) == [[Piece("a", 0, 1)], [Piece("a", 1, 1)]]
    monkeypatch.setattr(score_tasks, "IMAGES_PER_TASK", 3)
    assert [sum(piece.rows for piece in task) for task in cut(pieces, 1)] == [3, 3, 3]
