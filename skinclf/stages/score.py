"""Archive + run → scores: each image once, however often the job is killed or started."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import pyarrow as pa
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.archives import Selection, check_paths
from skinclf.archives.decoding import Decode, Decoding
from skinclf.config.schema import Config, ScoreConfig
from skinclf.errors import ArchiveError, CheckError, ConfigError
from skinclf.reporting.scoring_progress import ScoreDisplay
from skinclf.spark.archive import needs_spark
from skinclf.spark.content_check import with_content_versions
from skinclf.spark.decoding import listing_frame
from skinclf.spark.failures import spark_failures
from skinclf.spark.inference import ModelLoader, scored_files
from skinclf.spark.labelled_archive import log_left_out
from skinclf.spark.listing import listed_rows
from skinclf.spark.score_export import export
from skinclf.spark.score_ledger import (
    each_micro_batch,
    list_new,
    write_batch,
)
from skinclf.spark.session import exclusive, spark_session
from skinclf.spec.rejects import REASONS
from skinclf.stages.score_summary import Summary, drift_of, log_summary, summarized
from skinclf.storage.files import absolute, delete, exists, join, write_text
from skinclf.storage.ownership import check_free
from skinclf.storage.score_folder import ScoreFolder
from skinclf.training.engines import predictor_for

DIGEST_CHARACTERS = 12
ROUNDS = 2
"""How often what was rewritten while it was read is listed again by the same job."""

log = logging.getLogger(__name__)


def score(
    config: Config,
    console: Console,
    decode: Decode | None = None,
    model: ModelLoader | None = None,
) -> Summary:
    """Score what is new or changed in `score.archive` since this model's last job.

    Writes below `score.output`/MODEL, one folder a model: what was listed, scores, rejects and,
    last, summary.json. Killed at any moment and started again, at most one micro-batch is
    computed again, and each input ends exactly once in scores or rejects. `decode` replaces the
    decoder, and `model` the run's model: then no drift is measured.

    Raises UsageError children for what is missing, CheckError where an input got lost or too many
    were rejected, StorageUnavailable where the storage fails.
    """
    scored_by = model or _model_of_run(config)
    paths = config.score.archive or config.archive.paths
    check_retried(config.score.retry_rejects)
    if not paths:
        raise ConfigError("score.archive: is empty; name the folders or archives to score")
    if not needs_spark(config.archive, paths):
        check_paths(paths)  # a missing path is reported before Spark starts
    folder = folder_of(scored_by, config.score)
    folder.check()
    check_free(folder.path)
    with (
        spark_session("score", config.spark) as spark,
        spark_failures(folder.path),
        exclusive(spark, folder.path, "score"),
    ):
        display = ScoreDisplay(console)
        start = time.monotonic()
        decoding = Decoding(config.archive, decode, scored_by.image)
        scoring = Scoring(spark, config, scored_by, decoding, folder)
        done = scoring.run(display)
        if done:
            log.info("finished the %s images of a job that was interrupted", f"{done:,}")
        changed = 0
        for retry in (config.score.retry_rejects, *[()] * ROUNDS):
            new, known = _list(spark, config, paths, folder, retry)
            changed += known
            display.expect(new)
            done += scoring.run(display)
            if not scoring.moved:
                break
            log.info("%s inputs moved while they were read: listing again", f"{scoring.moved:,}")
        rate = done / (time.monotonic() - start)
        summary = summarized(spark, folder, scored_by.digest, done, changed, rate)
        if model is None:
            summary = replace(summary, drift=drift_of(summary, config.run.path, folder.taxonomy))
        if config.score.format != "parquet":
            log.info("exported to %s", export(spark, folder, config.score.format))
        write_text(folder.summary, json.dumps(asdict(summary), indent=1) + "\n")
    log_summary(summary, config.score.max_reject_fraction)
    return summary


def _model_of_run(config: Config) -> ModelLoader:
    return predictor_for(config.run.path, config.score)


def folder_of(model: ModelLoader, settings: ScoreConfig) -> ScoreFolder:
    """The folder of a model's scores, which differ with precision and test-time augmentation."""
    name = model.digest[:DIGEST_CHARACTERS]
    name += "" if settings.precision == "float32" else f"-{settings.precision}"
    name += "-flips" if settings.tta_flips else ""
    return ScoreFolder(join(absolute(settings.output), name), model.taxonomy)


def check_retried(reasons: Sequence[str]) -> None:
    """Raise ConfigError unless all are reasons of rejects, or "all"."""
    unknown = [reason for reason in reasons if reason not in (*REASONS, "all")]
    if unknown:
        raise ConfigError(
            f"score.retry_rejects (--retry-rejects): {unknown[0]} is no reason of a reject; known "
            f"are all, {', '.join(REASONS)}"
        )


def _list(
    spark: SparkSession,
    config: Config,
    paths: tuple[str, ...],
    folder: ScoreFolder,
    retry: Sequence[str],
) -> tuple[int, int]:
    """Add to the listing what is new or to be tried again → (new inputs, of these known ones)."""
    archive = config.archive
    selection = Selection(archive.include, archive.exclude)
    leave_out = [archive.metadata, config.score.output]
    rows = listed_rows(spark, archive, paths, leave_out, selection)
    new, known = list_new(
        spark,
        rows,
        folder,
        micro_batch_images=config.score.micro_batch_images,
        limit=config.score.limit,
        retry=retry,
        versions=partial(with_content_versions, archive=archive)
        if config.score.compare_content
        else None,
    )
    log_left_out(selection)
    if not exists(folder.listing):
        raise ArchiveError(f"no files in {', '.join(paths)}")
    log.info("%s inputs are new, of which %s have changed", f"{new:,}", f"{known:,}")
    return new, known


@dataclass
class Scoring:
    """Scores what is listed and not done."""

    spark: SparkSession
    config: Config
    model: ModelLoader
    decoding: Decoding
    folder: ScoreFolder
    moved: int = 0  # inputs of the last run whose archive was rewritten meanwhile

    def run(self, display: ScoreDisplay) -> int:
        """Score every micro-batch that is not done → how many inputs that were."""
        inputs = self.moved = 0

        def score_batch(listing: pa.Table, number: int) -> None:
            nonlocal inputs
            rejects, moved = self._batch(listing, number)
            inputs += listing.num_rows
            self.moved += moved
            display.add(listing.num_rows, rejects)

        with display:
            each_micro_batch(self.spark, self.folder, score_batch)
        return inputs

    def _batch(self, listing: pa.Table, number: int) -> tuple[int, int]:
        """Score one micro-batch → its rejects, and how many of them moved."""
        delete(self.folder.summary)  # what it says is no longer so
        frame = listing_frame(self.spark, listing)
        batch_size = self.config.score.batch_size
        outcomes = scored_files(frame, self.model, self.decoding, batch_size).persist()
        try:
            reasons = dict(map(tuple, outcomes.groupBy("reason").count().collect()))
            count = sum(reasons.values())
            if count != listing.num_rows:
                raise CheckError(
                    f"{self.folder.path}: batch {number} has {count} outcomes of "
                    f"{listing.num_rows} inputs; it is not marked as done. Start the job again"
                )
            write_batch(outcomes, self.folder, number)
        finally:
            outcomes.unpersist()
        return count - reasons.get(None, 0), reasons.get("changed", 0)
