"""All scores of a model in one CSV."""

import logging
from collections.abc import Sequence

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from skinclf.spark.csv_cells import harmless
from skinclf.spark.reading import read_parquet_files
from skinclf.spec.taxonomy import probability_column
from skinclf.storage.files import (
    delete,
    exists,
    hadoop_options,
    hadoop_path,
    join,
    list_names,
    locate,
    move,
    new_file,
)
from skinclf.storage.score_folder import SCORES, ScoreFolder
from skinclf.storage.score_ledger import ScoreLedger

ISIC_ORDER = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
"""The columns of the ISIC challenge's CSV after `image`, in upper case there."""

CSV = {
    "escape": '"',
    "ignoreLeadingWhiteSpace": "false",
    "ignoreTrailingWhiteSpace": "false",
    "compression": "none",
}
"""As the CSV standard has it: Spark would escape quotes by backslashes, trim names, and pack files
where Hadoop's settings say so.
"""

PIECE = 2**20
"""Bytes that are copied at a time."""

EXPORTS = {"csv": "scores.csv", "isic": "isic.csv"}
"""`score.format` → its file in the folder of scores."""

log = logging.getLogger(__name__)


def isic_order(codes: Sequence[str]) -> list[str]:
    """Codes as the challenge has them, any others behind them in their own order."""
    known = [code for code in ISIC_ORDER if code in codes]
    return [*known, *(code for code in codes if code not in known)]


def warn_of_stale(folder: ScoreFolder, form: str) -> None:
    """Log that a file of earlier scores lies beside new ones, unless it was written as `form`."""
    for other, name in EXPORTS.items():
        if other != form and exists(join(folder.path, name)):
            log.warning(
                "%s has the scores before this job; --format %s writes it anew",
                join(folder.path, name),
                other,
            )


def export(spark: SparkSession, ledger: ScoreLedger, form: str) -> str:
    """Write all scores into one CSV file, sorted by image → its path.

    Tasks write it in parts of like size, which are put one behind the other here, as they are.
    """
    folder = ledger.folder
    names = [file.name for file in ledger.manifest.scores]
    place, schema = join(folder.path, SCORES), folder.schema(SCORES)
    scores, codes = read_parquet_files(spark, place, names, schema), folder.taxonomy.codes
    if form == "isic":
        columns = [
            F.col("image_id").alias("image"),
            *(F.col(probability_column(code)).alias(code.upper()) for code in isic_order(codes)),
        ]
    else:
        chosen = ("source", "image_id", "predicted", *map(probability_column, codes), "model")
        columns = [F.col(name) for name in chosen]
    staging = folder.exported
    table = harmless(scores.sort("image_id", "source").select(*columns))
    options = CSV | hadoop_options(staging)
    table.write.options(**options).csv(hadoop_path(staging), mode="overwrite", header=False)
    whole = join(staging, "whole.csv")
    _put_together(staging, ",".join(table.columns), whole)
    target = join(folder.path, EXPORTS[form])
    move(whole, target)
    delete(staging)
    return target


def _put_together(staging: str, header: str, path: str) -> None:
    """Write the parts that Spark wrote, in their order, into one file below a header."""
    with new_file(path) as whole:
        whole.write(f"{header}\n".encode())
        for name in list_names(staging):
            if name.startswith("part-"):
                file_system, inner = locate(join(staging, name))
                with file_system.open_input_stream(inner) as part:
                    while piece := part.read(PIECE):
                        whole.write(piece)
