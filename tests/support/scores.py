"""Scores without Spark or a model: the files that browse reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from skinclf.archives import list_images
from skinclf.spec.tables import outcomes_schema
from skinclf.spec.taxonomy import HAM10000, probability_column
from skinclf.storage.parquet_files import write_parquet
from skinclf.storage.score_folder import ScoreFolder, new_name
from skinclf.storage.score_ledger import ScoreLedger
from skinclf.storage.score_manifest import ListingFile

SCHEMA = outcomes_schema(HAM10000)


def scores_table(rows: Mapping[str, Sequence[float]]) -> pa.Table:
    """source → probabilities, as rows of scores."""
    return pa.Table.from_pylist([score(source, p) for source, p in rows.items()], schema=SCHEMA)


def score(source: str, probabilities: Sequence[float]) -> dict[str, object]:
    """A row of scores; the image is called like its source."""
    by_class = dict(zip(HAM10000.codes, probabilities, strict=True))
    return {probability_column(code): value for code, value in by_class.items()} | {
        "source": source,
        "image_id": source,
        "predicted": max(by_class, key=lambda code: by_class[code]),
        "model": "b" * 64,
    }


def write_scores(
    path: Path,
    archive: Path,
    scores: Mapping[str, Sequence[float]],
    rejects: Mapping[str, tuple[str, str]],
) -> None:
    """A model's folder of what is in `archive`: image_id → probabilities, or reason and detail."""
    ledger = ScoreLedger(ScoreFolder(str(path)))
    listing, name = list_images([str(archive)]), new_name()
    write_parquet(ledger.listing_file(name), [listing], listing.schema)
    ledger.add_listing([ListingFile(name=name, rows=listing.num_rows)])
    rows = []
    for entry in listing.to_pylist():
        image_id = entry["image_id"]
        if image_id in scores:
            row = score(entry["source"], scores[image_id])
        else:
            row = dict(zip(("reason", "detail"), rejects[image_id], strict=True))
        rows.append(row | {"source": entry["source"], "image_id": image_id})
    ledger.add(pa.Table.from_pylist(rows, schema=SCHEMA), again=False)
    ledger.finish()
