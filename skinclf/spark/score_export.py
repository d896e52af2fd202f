"""All scores of a model in one CSV."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from skinclf.spark.csv_cells import harmless
from skinclf.spark.score_ledger import NO_MARKER, ScoreFolder, read_scores
from skinclf.spec.taxonomy import CODES, probability_column
from skinclf.storage.files import delete, hadoop_path, join, list_names, locate

ISIC_ORDER = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
"""The columns of the ISIC challenge's CSV after `image`, in upper case there."""

CSV = {"escape": '"', "ignoreLeadingWhiteSpace": "false", "ignoreTrailingWhiteSpace": "false"}
"""As the CSV standard has it: Spark would escape quotes by backslashes and trim names."""


def export(spark: SparkSession, folder: ScoreFolder, form: str) -> str:
    """Write all scores into one CSV file, sorted by image → its path."""
    scores = read_scores(spark, folder)
    if form == "isic":
        columns = [
            F.col("image_id").alias("image"),
            *(F.col(probability_column(code)).alias(code.upper()) for code in ISIC_ORDER),
        ]
    else:
        names = ("source", "image_id", "predicted", *map(probability_column, CODES), "model")
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
