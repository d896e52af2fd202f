"""All scores of a model in one CSV."""

from collections.abc import Sequence

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from skinclf.spark.csv_cells import harmless
from skinclf.spark.score_ledger import NO_MARKER, read_scores
from skinclf.spec.taxonomy import probability_column
from skinclf.storage.files import delete, hadoop_path, join, list_names, locate
from skinclf.storage.score_folder import ScoreFolder

ISIC_ORDER = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
"""The columns of the ISIC challenge's CSV after `image`, in upper case there."""

CSV = {"escape": '"', "ignoreLeadingWhiteSpace": "false", "ignoreTrailingWhiteSpace": "false"}
"""As the CSV standard has it: Spark would escape quotes by backslashes and trim names."""


def isic_order(codes: Sequence[str]) -> list[str]:
    """Codes as the challenge has them, any others behind them in their own order."""
    known = [code for code in ISIC_ORDER if code in codes]
    return [*known, *(code for code in codes if code not in known)]


def export(spark: SparkSession, folder: ScoreFolder, form: str) -> str:
    """Write all scores into one CSV file, sorted by image → its path."""
    scores, codes = read_scores(spark, folder), folder.taxonomy.codes
    if form == "isic":
        columns = [
            F.col("image_id").alias("image"),
            *(F.col(probability_column(code)).alias(code.upper()) for code in isic_order(codes)),
        ]
    else:
        names = ("source", "image_id", "predicted", *map(probability_column, codes), "model")
        columns = [F.col(name) for name in names]
    name = "isic.csv" if form == "isic" else "scores.csv"
    staging = join(folder.path, "export")
    (
        harmless(scores.sort("image_id", "source").select(*columns))
        .coalesce(1)
        .write.option(*NO_MARKER)
        .options(**CSV)
        .csv(hadoop_path(staging), mode="overwrite", header=True)
    )
    (part,) = (n for n in list_names(staging) if n.startswith("part-"))
    file_system, inner = locate(join(staging, part))
    file_system.move(inner, locate(join(folder.path, name))[1])
    delete(staging)
    return join(folder.path, name)
