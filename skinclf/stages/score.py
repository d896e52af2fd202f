"""Archive + run → scores: each image once, however often the job is killed or started."""

import json
import logging
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.archive import check_paths, iter_images
from skinclf.config import Config
from skinclf.errors import ArchiveError, CheckError, ConfigError
from skinclf.history import validation_shares
from skinclf.labels import CODES
from skinclf.learn.predictor import Predictor
from skinclf.run_folder import read_config, read_history
from skinclf.stages.score_display import ScoreDisplay
from skinclf.storage import absolute, delete, exists, join, write_text
from skinclf.tables.images import listing_frame
from skinclf.tables.score_folder import (
    ScoreFolder,
    count_listed,
    each_micro_batch,
    export,
    list_new,
    read_rejects,
    read_scores,
    write_batch,
)
from skinclf.tables.scores import scored_files
from skinclf.tables.session import spark_session
from skinclf.tables.spark_archive import needs_spark, spark_images

SUMMARY = "summary.json"
DIGEST_CHARACTERS = 12
DRIFT = 0.1
"""A class whose share differs by more from that on the validation images is worth a warning."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What stands in a model's scores, and what this job added to them.

    `predicted` and `rejects` count images by class and by reason; `drift` is, by class, its share
    of these predictions less its share of those for the validation images (empty where there are
    none): a model may predict other shares than it was trained on, by intent or not.
    """

    path: str
    model: str
    finished: str  # UTC, ISO 8601
    inputs: int
    scored: int
    predicted: dict[str, int]
    rejects: dict[str, int]
    drift: dict[str, float]
    new: int  # inputs that this job scored or rejected
    changed: int  # of these, known before with another content
    images_per_second: float


def score(config: Config, console: Console) -> Summary:
    """Score what is new or changed in `score.paths` since this model's last job.

    Writes below `score.path`/MODEL, one folder a model: what was listed, scores, rejects and,
    last, summary.json. Killed at any moment and started again, at most one micro-batch is
    computed again, and each input ends exactly once in scores or rejects. Raises UsageError
    children for what is missing, CheckError where an input got lost or too many were rejected.
    """
    precision, flips = config.score.precision, config.score.flips
    predictor = Predictor.of_run(absolute(config.run.path), precision, flips=flips)
    paths = config.score.paths or config.archive.paths
    if not paths:
        raise ConfigError("score.paths: is empty; name the folders or archives to score")
    if not needs_spark(config.archive, paths):
        check_paths(paths)  # what is not there is told before Spark starts
    name = predictor.digest[:DIGEST_CHARACTERS]
    # The same model's scores are others where it answers in another way.
    name += "" if precision == "float32" else f"-{precision}"
    name += "-flips" if flips else ""
    folder = ScoreFolder(join(absolute(config.score.path), name))
    with spark_session("score", config.spark) as spark:
        display = ScoreDisplay(console)
        start = time.monotonic()
        done = _score_listed(spark, config, predictor, folder, display)
        if done:
            log.info("finished the %s images of a job that was broken off", f"{done:,}")
        new, changed = _list(spark, config, paths, folder)
        display.expect(new)
        done += _score_listed(spark, config, predictor, folder, display)
        rate = done / (time.monotonic() - start)
        summary = _summary(spark, folder, predictor, done, changed, rate)
        if config.score.format != "parquet":
            log.info("exported to %s", export(spark, folder, config.score.format))
    write_text(join(folder.path, SUMMARY), json.dumps(asdict(summary), indent=1) + "\n")
    _tell(summary, config)
    return summary


def _list(
    spark: SparkSession, config: Config, paths: tuple[str, ...], folder: ScoreFolder
) -> tuple[int, int]:
    """Add to the listing what is new → (new inputs, of these changed ones)."""
    archive = config.archive
    if needs_spark(archive, paths):
        rows = spark_images(spark, paths, archive.include)
    else:
        rows = iter_images(paths, [archive.metadata], archive.include)
    new, changed = list_new(
        spark,
        rows,
        folder,
        micro_batch_images=config.score.micro_batch_images,
        limit=config.score.limit,
    )
    if not exists(folder.listing):
        raise ArchiveError(f"no files in {', '.join(paths)}")
    log.info("%s inputs are new, of which %s have changed", f"{new:,}", f"{changed:,}")
    return new, changed


def _score_listed(
    spark: SparkSession,
    config: Config,
    predictor: Predictor,
    folder: ScoreFolder,
    display: ScoreDisplay,
) -> int:
    """Score every micro-batch that is not done → how many inputs that were."""
    inputs = 0

    def run(listing: pa.Table, number: int) -> None:
        nonlocal inputs
        delete(join(folder.path, SUMMARY))  # what it says is no longer so
        frame = listing_frame(spark, listing)
        batch_images = config.score.batch_images
        outcomes = scored_files(frame, predictor, config.archive, batch_images).persist()
        try:
            rejects = outcomes.where("reason IS NOT NULL").count()
            count = outcomes.count()
            if count != listing.num_rows:
                raise CheckError(
                    f"{folder.path}: batch {number} has {count} outcomes of {listing.num_rows} "
                    f"inputs; it is not marked as done. Start the job again"
                )
            write_batch(outcomes, folder, number)
        finally:
            outcomes.unpersist()
        inputs += count
        display.add(count, rejects)

    with display:
        each_micro_batch(spark, folder, run)
    return inputs


def _summary(
    spark: SparkSession,
    folder: ScoreFolder,
    predictor: Predictor,
    new: int,
    changed: int,
    rate: float,
) -> Summary:
    """Count what is there. Raises CheckError unless it is each listed input, once."""
    scores, rejects = read_scores(spark, folder), read_rejects(spark, folder)
    predicted = dict(map(tuple, scores.groupBy("predicted").count().collect()))
    reasons = dict(map(tuple, rejects.groupBy("reason").count().orderBy("reason").collect()))
    scored, inputs = sum(predicted.values()), count_listed(spark, folder)
    if inputs != scored + sum(reasons.values()):
        raise CheckError(
            f"{folder.path}: {inputs} inputs listed but {scored} scores + "
            f"{sum(reasons.values())} rejects; no {SUMMARY} was written"
        )
    run = predictor.run
    usual = validation_shares(read_history(run), read_config(run).train)
    drift = {
        code: round(predicted.get(code, 0) / scored - share, 4)
        for code, share in usual.items()
        if scored
    }
    return Summary(
        path=folder.path,
        model=predictor.digest,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        inputs=inputs,
        scored=scored,
        predicted={code: predicted[code] for code in CODES if code in predicted},
        rejects=reasons,
        drift=drift,
        new=new,
        changed=changed,
        images_per_second=round(rate, 1),
    )


def _tell(summary: Summary, config: Config) -> None:
    """Say how it ended. Raises CheckError where more was rejected than is allowed."""
    rejected = sum(summary.rejects.values())
    log.info(
        "scored %s new inputs (%s images/s); in all %s scores and %s rejects in %s",
        f"{summary.new:,}",
        f"{summary.images_per_second:.0f}",
        f"{summary.scored:,}",
        f"{rejected:,}",
        summary.path,
    )
    if summary.drift:
        code, difference = max(summary.drift.items(), key=lambda item: abs(item[1]))
        if abs(difference) > DRIFT:
            share = summary.predicted.get(code, 0) / summary.scored
            log.warning(
                "%s is predicted for %.0f %% of these images, and for %.0f %% of the validation "
                "images: are these images of the same kind?",
                code,
                100 * share,
                100 * (share - difference),
            )
    share = rejected / summary.inputs if summary.inputs else 0.0
    if share > config.score.max_rejects:
        raise CheckError(
            f"{summary.path}: {rejected:,} of {summary.inputs:,} inputs were rejected, more than "
            f"score.max_rejects = {config.score.max_rejects:g}; all that could be scored was"
        )
