"""Archive + run → scores: each image once, however often the job is killed or started."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import pyarrow as pa
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.archives import Selection, check_apart, check_paths
from skinclf.archives.decoding import Decode, Decoding
from skinclf.config.schema import Config, ScoreConfig
from skinclf.errors import ArchiveError, CheckError, ConfigError
from skinclf.reporting.scoring_progress import ScoreDisplay
from skinclf.spark.archive import archive_contents, needs_spark
from skinclf.spark.content_check import with_content_versions
from skinclf.spark.exclusive import exclusive
from skinclf.spark.failures import spark_failures
from skinclf.spark.listing import listed_rows, log_left_out
from skinclf.spark.score_export import export, warn_of_stale
from skinclf.spark.score_listing import list_new
from skinclf.spark.score_table import ScoreTable, open_table
from skinclf.spark.score_tasks import (
    FEW_PER_TASK,
    IMAGES_PER_TASK,
    outcomes_by_spark,
    outcomes_of,
    scorer,
)
from skinclf.spark.session import spark_session
from skinclf.spark.versions import parallelism
from skinclf.spec.model import ModelLoader
from skinclf.spec.rejects import REASONS
from skinclf.spec.views import Tta
from skinclf.stages.preview import Preview, session_text
from skinclf.stages.score_summary import (
    Summary,
    log_summary,
    summarized,
    usual_shares,
    warn_of_rule,
)
from skinclf.storage.files import absolute, delete, join, write_json
from skinclf.storage.ownership import check_free
from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_ledger import ScoreLedger
from skinclf.storage.score_manifest import Piece
from skinclf.training.engines import check_engine, predictor_for
from skinclf.training.predictor import Predictor

DIGEST_CHARACTERS = 12
ROUNDS = 2
"""How often what was rewritten while it was read is listed again by the same job."""

log = logging.getLogger(__name__)


def score(config: Config, console: Console) -> Summary:
    """Score what is new or changed in `score.archive` since this model's last job.

    Writes below `score.output`/MODEL, one folder a model: what was listed, scores, rejects and,
    last, summary.json. Killed at any moment and started again, at most one micro-batch is
    computed again, and each input ends exactly once in scores or rejects.

    Raises UsageError children for what is missing, CheckError where an input got lost, QualityError
    where too many were rejected, StorageUnavailable where the storage fails.
    """
    settings = config.score
    views = _views(settings)
    model = predictor_for(config.run.path, settings.engine, settings.precision, tta=views)
    return score_by(model, config, console)


def score_by(
    model: ModelLoader, config: Config, console: Console, decode: Decode | None = None
) -> Summary:
    """What `score` does, with any model; `decode` replaces the decoder. Drift is measured where the
    model is a run's.
    """
    paths, folder = _checked(config, model)
    usual: dict[str, float] = {}
    if isinstance(model, Predictor):
        usual = usual_shares(model.run, model.digest, folder.taxonomy)
        warn_of_rule(model.run, model.digest, config.decision)
    with (
        spark_session("score", config.spark, connect=True) as spark,
        spark_failures(folder.path),
        exclusive(spark, folder.path, "score") as check_owner,
    ):
        start = time.monotonic()
        decoding = Decoding(config.archive, decode, model.image)
        table = open_table(spark, config.score, folder)
        scoring = Scoring(spark, config, model, decoding, ScoreLedger(folder, check_owner), table)
        display = ScoreDisplay(console)
        _look_at_waiting(scoring.ledger, drop=config.score.drop_waiting)
        done = scoring.run(display)
        changed, moved = 0, scoring.moved
        # A limited job lists once: what moves meanwhile is the next job's.
        last = 0 if config.score.limit else ROUNDS
        for again in range(last + 1):
            retry = () if again else config.score.retry_rejects
            new, known = _list(scoring, paths, retry)
            listed_again = min(known, moved)  # they are counted already
            changed += known - listed_again
            display.expect(new)
            done += scoring.run(display) - listed_again
            moved = scoring.moved
            if not moved:
                break
            log.info(
                "%s inputs moved while they were read: %s",
                f"{moved:,}",
                "listing again" if again < last else "the next job scores them",
            )
        scoring.finish()
        rate = done / (time.monotonic() - start)
        summary = summarized(scoring.ledger, model.digest, done, changed, rate, usual)
        if config.score.format != "parquet":
            log.info("exported to %s", export(spark, scoring.ledger, config.score.format))
        if done:
            warn_of_stale(folder, config.score.format)
        write_json(folder.summary, asdict(summary))
    log_summary(summary)
    return summary


def preview(config: Config) -> Preview:
    """What `score` would do. Raises what it raises before Spark starts."""
    check_engine(config.score.engine)
    # No engine is chosen, for which a run may get a file.
    model = Predictor.of_run(config.run.path, tta=_views(config.score))
    paths, folder = _checked(config, model)
    warn_of_rule(config.run.path, model.digest, config.decision)
    reads = [config.run.path, *paths]
    writes = [folder.path, *filter(None, [config.score.table])]
    return Preview(reads, writes, [session_text(config.spark)])


def _checked(config: Config, model: ModelLoader) -> tuple[tuple[str, ...], ScoreFolder]:
    """The archive and the folder of its scores. Raises UsageError children where it can't be
    scored as asked.
    """
    paths = config.score.archive or config.archive.paths
    check_retried(config.score.retry_rejects)
    if not paths:
        raise ConfigError("score.archive: is empty; name the folders or archives to score")
    check_apart(paths, config.score.output, "score.output")
    if not needs_spark(config.archive, paths):
        check_paths(paths)
    elif config.score.compare_content:
        raise ConfigError(
            "score.compare_content: Spark reads this archive (archive.reader) and can compare time "
            "and size alone. Leave it out, or name paths that can be reached without Spark"
        )
    folder = folder_of(model, config.score)
    folder.check()
    check_free(folder.path)
    return paths, folder


def _views(settings: ScoreConfig) -> Tta | None:
    return None if settings.tta == "auto" else settings.tta


def folder_of(model: ModelLoader, settings: ScoreConfig) -> ScoreFolder:
    """The folder of a model's scores, which differ with precision, test-time augmentation and how
    classes are decided on.
    """
    name = model.digest[:DIGEST_CHARACTERS]
    name += "" if settings.precision == "float32" else f"-{settings.precision}"
    name += "" if model.tta == "none" else f"-{model.tta}"
    name += f"-decided-{_short_digest(model.weights)}" if model.weights else ""
    return ScoreFolder(join(absolute(settings.output), name), model.taxonomy)


def _short_digest(weights: tuple[float, ...]) -> str:
    return hashlib.sha256(repr(weights).encode()).hexdigest()[:DIGEST_CHARACTERS]


def check_retried(reasons: Sequence[str]) -> None:
    """Raise ConfigError unless all are reasons of rejects, or "all"."""
    unknown = [reason for reason in reasons if reason not in (*REASONS, "all")]
    if unknown:
        raise ConfigError(
            f"score.retry_rejects (--retry-rejects): {unknown[0]} is no reason of a reject; known "
            f"are all, {', '.join(REASONS)}"
        )


def _look_at_waiting(ledger: ScoreLedger, *, drop: bool) -> None:
    """Say how much an interrupted job listed and did not score, or `drop` it."""
    if ledger.waiting and drop:
        log.info(
            "%s images that an interrupted job had listed are dropped: of these, what is in the "
            "archive is listed anew",
            f"{ledger.drop_waiting():,}",
        )
    elif ledger.waiting:
        log.info(
            "%s images were listed by a job that was interrupted: they come first. "
            "score.drop_waiting (--drop-waiting) leaves them out",
            f"{ledger.waiting:,}",
        )


def _list(scoring: "Scoring", paths: tuple[str, ...], retry: Sequence[str]) -> tuple[int, int]:
    """Add to the listing what is new or to be tried again → (new inputs, of these known ones)."""
    archive, settings = scoring.config.archive, scoring.config.score
    selection = Selection(archive.include, archive.exclude)
    leave_out = [*archive.metadata_files, settings.output]
    rows = listed_rows(scoring.spark, archive, paths, leave_out, selection)
    new, known = list_new(
        scoring.spark,
        rows,
        scoring.ledger,
        limit=settings.limit,
        retry=retry,
        versions=partial(with_content_versions, archive=archive)
        if settings.compare_content
        else None,
        spark_paths=paths if needs_spark(archive, paths) else (),
    )
    log_left_out(selection)
    if not scoring.ledger.manifest.listing:
        raise ArchiveError(f"no files in {', '.join(paths)}")
    counts = {"new": new, "changed": known}
    log.info(
        "%s inputs are new, of which %s are known: changed, or to be tried again",
        *(f"{count:,}" for count in counts.values()),
        extra={"counts": counts},
    )
    return new, known


@dataclass
class Scoring:
    """Scores what is listed and not done."""

    spark: SparkSession
    config: Config
    model: ModelLoader
    decoding: Decoding
    ledger: ScoreLedger
    table: ScoreTable | None = None
    moved: int = 0  # inputs of the last run whose archive was rewritten meanwhile

    def run(self, display: ScoreDisplay) -> int:
        """Score all that is listed and not done → how many inputs that were."""
        inputs = self.moved = 0
        outcomes: Callable[[list[Piece]], pa.Table] | None = None
        with display:
            while True:
                pieces, again = self.ledger.next_batch(self.config.score.micro_batch_images)
                if not pieces:
                    break
                count = sum(piece.rows for piece in pieces)
                if not outcomes:
                    outcomes = self._outcomes()
                    self._hint(count)
                reasons = self._commit(outcomes(pieces), count, again=again)
                self._follow()
                inputs += count
                self.moved += reasons.get("changed", 0)
                display.add(count, sum(reasons.values()))
        self.ledger.replace()
        self._follow()
        return inputs

    def finish(self) -> None:
        """Tidy up and count what is there. Raises CheckError where something is missing."""
        self.ledger.finish()
        if self.table:
            self.table.check(self.ledger.manifest)

    def _follow(self) -> None:
        if self.table:
            self.table.follow(self.ledger.manifest)

    def _hint(self, count: int) -> None:
        """Say what would be faster where micro-batches are small for so many cores."""
        cores = parallelism(self.spark)
        most = self.config.score.micro_batch_images
        if count == most and count < cores * FEW_PER_TASK:
            log.info(
                "a micro-batch of %s images gives each of %s cores %s: they wait for each other at "
                "its end. score.micro_batch_images = %s would be faster",
                f"{count:,}",
                f"{cores:,}",
                count // cores,
                cores * IMAGES_PER_TASK,
            )

    def _outcomes(self) -> Callable[[list[Piece]], pa.Table]:
        """What scores a micro-batch: tasks open the files, or Spark reads them, which lists the
        archive once for all of them.
        """
        job = scorer(self.spark, self.model, self.decoding, self.config.score.batch_size)
        paths = self.ledger.manifest.spark_paths
        if not paths:
            return lambda pieces: outcomes_of(self.spark, pieces, job)
        largest = self.config.archive.max_file_bytes
        contents = archive_contents(self.spark, paths, largest)
        return lambda pieces: outcomes_by_spark(self.spark, pieces, job, contents)

    def _commit(self, outcomes: pa.Table, inputs: int, *, again: bool) -> dict[str, int]:
        """Commit a micro-batch → its rejects by reason."""
        if outcomes.num_rows != inputs:
            raise CheckError(
                f"{self.ledger.folder.path}: a micro-batch has {outcomes.num_rows} outcomes of "
                f"{inputs} inputs; it is not committed. Start the job again"
            )
        delete(self.ledger.folder.summary)  # what it says is no longer so
        return self.ledger.add(outcomes, again=again)
