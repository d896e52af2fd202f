"""The account of a small job of scoring, without Spark, images or a model."""

from typing import Any

import pyarrow as pa

from skinclf.spec.tables import outcomes_schema
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.parquet_files import read_rows, write_parquet
from skinclf.storage.score_folder import ScoreFolder, new_name
from skinclf.storage.score_ledger import ScoreLedger
from skinclf.storage.score_manifest import ListingFile

SCHEMA = outcomes_schema(HAM10000)
LISTED = pa.schema([("source", pa.string()), ("try", pa.int64())])


def outcomes(listed: list[dict[str, Any]]) -> pa.Table:
    """Every third is a reject; which try an outcome is of is its `image_id`."""
    rows = []
    for row in listed:
        number = int(row["source"].removeprefix("s"))
        rows.append({"source": row["source"], "image_id": str(row["try"])})
        rows[-1] |= {"reason": "empty"} if number % 3 == 0 else {"predicted": "nv"}
    return pa.Table.from_pylist(rows, schema=SCHEMA)


class Job:
    """Lists twelve inputs and then, five of them again and two new ones, in batches of two."""

    def __init__(self, path: str) -> None:
        self.path = path

    def run(self) -> ScoreLedger:
        """Begin or resume, and end."""
        ledger = ScoreLedger(ScoreFolder(self.path))
        self.score(ledger)
        if ledger.manifest.listed == 0:
            self.list(ledger, {False: range(12)}, 1)
            self.score(ledger)
        if ledger.manifest.listed == 12:
            self.list(ledger, {False: range(12, 14), True: (0, 1, 4, 8, 11)}, 2)
            self.score(ledger)
        ledger.finish()
        return ledger

    @staticmethod
    def list(ledger: ScoreLedger, numbers: dict[bool, Any], attempt: int) -> None:
        files = []
        for again, part in numbers.items():
            name = new_name()
            rows = [{"source": f"s{number:02}", "try": attempt} for number in part]
            table = pa.Table.from_pylist(rows, schema=LISTED)
            write_parquet(ledger.listing_file(name), [table], LISTED, rows_a_group=3)
            files.append(ListingFile(name=name, rows=len(rows), again=again))
        ledger.add_listing(files)

    @staticmethod
    def score(ledger: ScoreLedger) -> None:
        while True:
            pieces, again = ledger.next_batch(2)
            if not pieces:
                break
            listed = pa.concat_tables([read_rows(*piece) for piece in pieces]).to_pylist()
            ledger.add(outcomes(listed), again=again)
        ledger.replace()


EXPECTED = {f"s{n:02}": "2" if n in {0, 1, 4, 8, 11, 12, 13} else "1" for n in range(14)}
