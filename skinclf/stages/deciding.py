"""How an evaluation decides on one class: as its run does, or by weights that it chooses."""

import logging

import numpy as np

from skinclf.errors import ConfigError
from skinclf.evaluation.decisions import check_rule, choose_weights
from skinclf.evaluation.predictions import Predictions
from skinclf.spark.splits import TRAIN, VAL
from skinclf.spec.decision import Decision, DecisionRule, decide
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import RunFolder

log = logging.getLogger(__name__)


def kept_decision(
    asked: DecisionRule, run: RunFolder, digest: str, dataset: Dataset
) -> Decision | None:
    """The decision that the run keeps of its model (SHA-256 `digest`), where the rule is "stored".

    Raises ConfigError where classes can't be decided on as asked, RunError where what is kept can't
    be used.
    """
    fault = check_rule(asked, dataset.taxonomy)
    if not fault and asked.is_chosen and not dataset.count(VAL):
        fault = (
            f'rule = "{asked.rule}" needs validation images, and the dataset has none: split.val'
        )
    if fault:
        raise ConfigError(f"decision.{fault}")
    return run.read_decision(digest) if asked.rule == "stored" else None


def chosen_decision(
    asked: DecisionRule, validation: Predictions, dataset: Dataset, digest: str
) -> Decision:
    """The decision by a rule that needs the model's predictions for validation images."""
    weights = choose_weights(asked, validation, dataset.counts.get(TRAIN, {}))
    decided = decide(validation.probabilities, tuple(weights.values()))
    counts = np.bincount(decided, minlength=len(weights))
    log.info(
        "decision.rule = %s: probabilities are weighed by %s",
        asked.rule,
        ", ".join(f"{code} {weight:.3g}" for code, weight in weights.items()),
    )
    return Decision(
        asked=asked,
        weights=weights,
        model=digest,
        validation=dict(zip(weights, counts.tolist(), strict=True)),
    )
