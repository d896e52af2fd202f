"""What a model's scores hold: counted, compared with validation, and logged."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from skinclf.errors import QualityError, UsageError
from skinclf.spec.decision import DecisionRule
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.files import exists
from skinclf.storage.history import validation_shares
from skinclf.storage.run_folder import RunFolder
from skinclf.storage.score_ledger import ScoreLedger
from skinclf.system.text import in_one_line

MOST_PROBABLE = DecisionRule(rule="probability")
"""How a run decides that keeps no decision."""

DRIFT = 0.1
"""A class whose share differs by more from that on the validation images is worth a warning."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What a model's scores hold, and what this job added to them.

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
    changed: int  # of these, known before: with another content, or rejects that are tried again
    images_per_second: float

    @property
    def rejected(self) -> int:
        """All rejects."""
        return sum(self.rejects.values())


def summarized(
    ledger: ScoreLedger,
    digest: str,
    new: int,
    changed: int,
    rate: float,
    usual: Mapping[str, float],
) -> Summary:
    """What is there, by the manifest, which `ScoreLedger.finish` has compared with the files.

    `usual`: see `usual_shares`.
    """
    manifest, codes = ledger.manifest, ledger.folder.taxonomy.codes
    shares = shares_of(manifest.predicted)
    return Summary(
        path=ledger.folder.path,
        model=digest,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        inputs=manifest.inputs,
        scored=sum(manifest.predicted.values()),
        predicted={code: manifest.predicted[code] for code in codes if code in manifest.predicted},
        rejects=dict(sorted(manifest.reasons.items())),
        drift={code: round(shares.get(code, 0) - usual[code], 4) for code in usual if shares},
        new=new,
        changed=changed,
        images_per_second=round(rate, 1),
    )


def usual_shares(run: str, digest: str, taxonomy: Taxonomy) -> dict[str, float]:
    """The share of each class in the predictions for the run's validation images, as its decision
    or else its last epoch has them. Empty for a model alone, such as from MLflow, and, with a
    warning, where another version wrote the run's files.
    """
    folder = RunFolder(run)
    try:
        decision = folder.read_decision(digest)
        if decision:
            return shares_of(decision.validation)
        history = folder.read_history()
        if history and exists(folder.config):
            return validation_shares(history, folder.read_config().train, taxonomy)
    except UsageError as error:
        log.warning("%s: drift is not measured: %s", run, in_one_line(error))
    return {}


def warn_of_rule(run: str, digest: str, asked: DecisionRule) -> None:
    """Warn where the run does not decide on classes by the rule that the settings have: `evaluate`
    chooses the weights, and scoring takes what is chosen.
    """
    decision = RunFolder(run).read_decision(digest)
    kept = decision.asked if decision else MOST_PROBABLE
    if asked.rule != "stored" and asked != kept:
        log.warning(
            "decision.rule = %s has no effect on scores: %s decides by the rule %s. An evaluation "
            "by these settings chooses anew",
            _in_words(asked),
            run,
            _in_words(kept),
        )


def _in_words(rule: DecisionRule) -> str:
    """A rule with what it is asked for."""
    asked = {"sensitivity": f" ({rule.sensitivity:g})", "costs": f" ({rule.costs})"}
    return rule.rule + asked.get(rule.rule, "")


def shares_of(counts: Mapping[str, int]) -> dict[str, float]:
    """Counts by class → shares; empty where there is nothing."""
    total = sum(counts.values())
    return {code: count / total for code, count in counts.items()} if total else {}


def log_summary(summary: Summary) -> None:
    """Log how it ended."""
    log.info(
        "scored %s new inputs (%s images/s); in all %s scores and %s rejects in %s",
        f"{summary.new:,}",
        f"{summary.images_per_second:.0f}",
        f"{summary.scored:,}",
        f"{summary.rejected:,}",
        summary.path,
        extra={
            "counts": {
                "new": summary.new,
                "scored": summary.scored,
                "rejects": summary.rejected,
            }
        },
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


def check_rejects(summary: Summary, max_reject_fraction: float) -> None:
    """Raise QualityError where more was rejected than is allowed."""
    share = summary.rejected / summary.inputs if summary.inputs else 0.0
    if share > max_reject_fraction:
        raise QualityError(
            f"{summary.path}: {summary.rejected:,} of {summary.inputs:,} inputs were rejected, "
            f"more than score.max_reject_fraction = {max_reject_fraction:g}; all that could be "
            f"scored was"
        )
