import pyarrow as pa
import pytest

from skinclf.reporting import score_sample
from skinclf.reporting.score_sample import margins, sample_rejects, sample_scores
from skinclf.spec.tables import REJECTS
from skinclf.spec.taxonomy import HAM10000
from tests.support.scores import scores_table

CODES = HAM10000.codes


def nv(probability: float) -> list[float]:
    """The rest is for bkl; akiec, bcc, bkl, df, mel, nv, vasc."""
    return [0, 0, 1 - probability, 0, 0, probability, 0]


def mel(probability: float) -> list[float]:
    return [0, 0, 0, 0, probability, 0, 1 - probability]


def test_the_margin_is_the_highest_probability_less_the_second() -> None:
    table = scores_table({"a": nv(0.9), "b": [0.1, 0.1, 0.1, 0.1, 0.1, 0.25, 0.25]})
    assert margins(table, CODES) == pytest.approx([0.8, 0], abs=1e-6)


def test_few_scores_are_all_shown_the_most_uncertain_first() -> None:
    tables = [scores_table({"a": nv(0.9), "b": nv(0.55)}), scores_table({"c": mel(0.7)})]
    sample = sample_scores(tables, limit=10)
    assert [image.source for image in sample.images] == ["b", "c", "a"]
    assert sample.images[0].margin == pytest.approx(0.1, abs=1e-6)
    assert sample.counts == {"nv": 2, "mel": 1}
    assert sample.shown == dict.fromkeys(CODES, 0) | {"nv": 2, "mel": 1}
    assert sample.model == "b" * 64


def test_of_many_scores_the_most_uncertain_and_some_of_each_class_are_shown() -> None:
    """Melanomas are predicted with certainty: the most uncertain 28 images alone hold none."""
    nevi = {f"nv{n:04}": nv(0.6 + n / 4000) for n in range(1000)}
    melanomas = {f"mel{n:04}": mel(0.95) for n in range(100)}
    parts = [dict(list(nevi.items())[start : start + 100]) for start in range(0, 1000, 100)]
    tables = [*map(scores_table, parts), scores_table(melanomas)]
    sample = sample_scores(tables, limit=28)
    assert len(sample.images) == len({image.source for image in sample.images}) == 28
    assert sample.drawn == 2  # 28 / 2 / 7
    assert sample.shown["mel"] == 2
    uncertain = {f"nv{n:04}" for n in range(24)}
    assert uncertain <= {image.source for image in sample.images}
    assert sample.total == 1100


def test_less_images_than_classes_are_the_most_uncertain_ones() -> None:
    table = scores_table({f"{n}": nv(0.6 + n / 1000) for n in range(100)})
    assert [image.source for image in sample_scores([table], 3).images] == ["0", "1", "2"]


def test_no_scores_are_no_images() -> None:
    sample = sample_scores([], limit=5)
    assert (list(sample.images), sample.total) == ([], 0)


def test_no_more_rows_are_held_than_are_wanted() -> None:
    """A million rows need no more memory than ten thousand."""
    smallest = score_sample._Smallest(5)
    for start in range(0, 1000, 10):
        table = scores_table({f"{n}": nv(1 - n / 2000) for n in range(start, start + 10)})
        smallest.add(table, margins(table, CODES))
        assert len(smallest.rows()) == 5
    assert [row["source"] for row in smallest.rows()] == ["999", "998", "997", "996", "995"]


def test_the_first_rejects_of_each_reason_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_sample, "REJECTS_OF_A_REASON", 2)
    rows = [{"source": f"{n}", "reason": "empty" if n % 5 else "truncated"} for n in range(10)]
    tables = [pa.Table.from_pylist(part, schema=REJECTS) for part in (rows[:4], rows[4:])]
    sample = sample_rejects(tables)
    assert [row["source"] for row in sample.rows] == ["1", "2", "0", "5"]
    assert (sample.counts, sample.total) == ({"empty": 8, "truncated": 2}, 10)
