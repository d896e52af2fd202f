"""Archive + run → scores: one row an image, whatever the archive holds."""

import json
import logging
from dataclasses import asdict, dataclass

from pyspark.sql import DataFrame
from rich.console import Console

from skinclf.archive import list_images
from skinclf.config import Config
from skinclf.errors import CheckError, ConfigError
from skinclf.labels import CODES
from skinclf.learn.predictor import Predictor
from skinclf.output_folder import OutputFolder
from skinclf.schemas import REJECTS, SCORES
from skinclf.storage import absolute, delete, hadoop_path, join
from skinclf.tables.dataset import reason_counts, write_rejects
from skinclf.tables.images import listing_frame
from skinclf.tables.progress import spark_progress
from skinclf.tables.scores import scored_files
from skinclf.tables.session import spark_session

SUMMARY = "summary.json"
"""Written last: scores without it are not finished."""

SCORED, REJECTED, STAGING = "scores", "rejects", "staging"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What a scoring did: `predicted` and `rejects` count images by class and by reason."""

    path: str
    model: str
    inputs: int
    scored: int
    predicted: dict[str, int]
    rejects: dict[str, int]


def score(config: Config, console: Console) -> Summary:
    """Score every file of `score.paths` with the run's model.

    Writes `scores/`, `rejects/` and, last, summary.json below `score.path`. Raises UsageError
    children for what is missing or in the way, CheckError where a file got lost.
    """
    predictor = Predictor.of_run(absolute(config.run.path))
    paths = config.score.paths or config.archive.paths
    if not paths:
        raise ConfigError("score.paths: is empty; name the folders or zip files to score")
    path = config.score.path
    listing = list_images(paths, leave_out=[config.archive.metadata])
    log.info("listed %s files", f"{listing.num_rows:,}")
    folder = OutputFolder(path, "score", SUMMARY, (SCORED, REJECTED, STAGING))
    folder.begin(overwrite=config.score.overwrite)
    with spark_session("score", config.spark) as spark:
        staging = hadoop_path(join(path, STAGING))
        with spark_progress(spark, "score", console):
            scored_files(
                listing_frame(spark, listing),
                predictor,
                config.archive,
                config.score.batch_images,
            ).write.parquet(staging, mode="overwrite")
        outcomes = spark.read.parquet(staging)
        summary = _divide(outcomes, path, predictor.digest, listing.num_rows)
    delete(join(path, STAGING))
    folder.finish(json.dumps(asdict(summary), indent=1) + "\n")
    log.info(
        "scored %s images (%s rejects) to %s",
        f"{summary.scored:,}",
        f"{sum(summary.rejects.values()):,}",
        path,
    )
    return summary


def _divide(outcomes: DataFrame, path: str, model: str, inputs: int) -> Summary:
    """Write scores and rejects apart, read them back and check that nothing is missing."""
    spark = outcomes.sparkSession
    scores, rejects = join(path, SCORED), join(path, REJECTED)
    scored = outcomes.where("reason IS NULL").select(*SCORES.names)
    scored.write.parquet(hadoop_path(scores), mode="overwrite")
    write_rejects(outcomes.where("reason IS NOT NULL").select(*REJECTS.names), rejects)
    rows = spark.read.parquet(hadoop_path(scores)).groupBy("predicted").count().collect()
    counts = {row["predicted"]: row["count"] for row in rows}
    reasons = reason_counts(spark, rejects)
    count = sum(counts.values())
    if count + sum(reasons.values()) != inputs:
        raise CheckError(
            f"{path}: {inputs} files listed but {count} scores + {sum(reasons.values())} rejects; "
            f"no {SUMMARY} was written. Did the archive change meanwhile? Start the job again"
        )
    predicted = {code: counts[code] for code in CODES if code in counts}
    return Summary(path, model, inputs, count, predicted, reasons)
