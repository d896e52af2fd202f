"""Which scores and rejects a page shows of millions: memory stays flat."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skinclf.spec.taxonomy import codes_of, probability_column
from skinclf.storage.parquet_files import counted

SEED = 2020
REJECTS_OF_A_REASON = 100


@dataclass(frozen=True)
class ScoredImage:
    """One row of scores."""

    source: str
    image_id: str
    predicted: str
    probabilities: tuple[float, ...]  # in the order of the classes

    @property
    def margin(self) -> float:
        """The highest probability less the second highest, 0 to 1; the smaller, the less certain.

        Scheffer, Decomain, Wrobel, Active Hidden Markov Models for Information Extraction (2001).
        """
        second, first = sorted(self.probabilities)[-2:]
        return first - second


@dataclass(frozen=True)
class ScoreSample:
    """The scores that are shown, the most uncertain first."""

    images: Sequence[ScoredImage]
    codes: Sequence[str]
    counts: Mapping[str, int]  # images by predicted class, of all scores
    drawn: int  # of each class, whatever the uncertainty: at most so many
    model: str = ""  # SHA-256 of model.keras

    @property
    def total(self) -> int:
        """How many scores there are."""
        return sum(self.counts.values())

    @property
    def shown(self) -> dict[str, int]:
        """Shown images by predicted class."""
        counts = Counter(image.predicted for image in self.images)
        return {code: counts[code] for code in self.codes}


@dataclass(frozen=True)
class RejectSample:
    """The rejects that are shown: the first of each reason."""

    rows: Sequence[Mapping[str, str | None]]  # of the columns REJECTS
    counts: Mapping[str, int]  # by reason, of all rejects

    @property
    def total(self) -> int:
        """How many rejects there are."""
        return sum(self.counts.values())


class _Smallest:
    """The `room` rows with the smallest keys of all that were added."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._keys = np.empty(0)
        self._rows: pa.Table | None = None

    def add(self, rows: pa.Table, keys: NDArray[np.float64]) -> None:
        """Look at some more rows; keys: (n,)."""
        if len(self._keys) == self._room:
            better = keys < self._keys.max(initial=-np.inf)
            rows, keys = rows.filter(pa.array(better)), keys[better]
        if not len(keys):
            return
        tables = [rows] if self._rows is None else [self._rows, rows]
        keys = np.concatenate([self._keys, keys])
        order = np.argsort(keys, kind="stable")[: self._room]
        self._keys, self._rows = keys[order], pa.concat_tables(tables).take(order)

    def rows(self) -> list[dict[str, Any]]:
        """What was kept, the smallest first."""
        return self._rows.to_pylist() if self._rows is not None else []


def sample_scores(tables: Iterable[pa.Table], limit: int) -> ScoreSample:
    """At most `limit` rows of tables of scores: half of them in equal shares drawn of each
    predicted class, the others the most uncertain ones. All rows where there are no more.
    """
    uncertain, random = _Smallest(limit), np.random.default_rng(SEED)
    drawn: dict[str, _Smallest] = {}
    counts: Counter[str] = Counter()
    codes: list[str] = []
    for table in tables:
        codes = codes_of(table.schema.names)
        uncertain.add(table, margins(table, codes))
        keys, predicted = random.random(len(table)), table["predicted"].to_numpy()
        for code in np.unique(predicted):
            of_class = predicted == code
            kept = drawn.setdefault(code, _Smallest(_share(limit, codes)))
            kept.add(table.filter(pa.array(of_class)), keys[of_class])
        counts.update(counted(table["predicted"]))
    rows = {row["source"]: row for kept in drawn.values() for row in kept.rows()}
    for row in uncertain.rows():
        if len(rows) < limit:
            rows.setdefault(row["source"], row)
    images = sorted((_image(row, codes) for row in rows.values()), key=lambda image: image.margin)
    model = next((row["model"] for row in rows.values()), "")
    return ScoreSample(images, codes, counts, _share(limit, codes), model)


def margins(scores: pa.Table, codes: Sequence[str]) -> NDArray[np.float64]:
    """(n,) how far the highest probability of each row is above its second highest."""
    columns = [scores[probability_column(code)].to_numpy() for code in codes]
    highest = np.partition(np.stack(columns, axis=1).astype(np.float64), -2, axis=1)
    found: NDArray[np.float64] = highest[:, -1] - highest[:, -2]
    return found


def sample_rejects(tables: Iterable[pa.Table]) -> RejectSample:
    """The first REJECTS_OF_A_REASON rows of each reason."""
    counts: Counter[str] = Counter()
    rows: list[Mapping[str, str | None]] = []
    for table in tables:
        reasons = table["reason"].to_numpy()
        for reason in np.unique(reasons):
            room = max(REJECTS_OF_A_REASON - counts[reason], 0)
            of_reason = table.filter(pa.array(reasons == reason))
            rows += of_reason.slice(0, room).to_pylist()
            counts[reason] += len(of_reason)
    return RejectSample(sorted(rows, key=lambda row: row["reason"] or ""), counts)


def _share(limit: int, codes: Sequence[str]) -> int:
    return limit // 2 // max(len(codes), 1)


def _image(row: Mapping[str, Any], codes: Sequence[str]) -> ScoredImage:
    probabilities = tuple(row[probability_column(code)] for code in codes)
    return ScoredImage(row["source"], row["image_id"], row["predicted"], probabilities)
