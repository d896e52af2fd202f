"""How an evaluation decides on one class: as its run does, or by weights that it chooses."""

import logging

import numpy as np

from skinclf.errors import ConfigError
from skinclf.evaluation.decisions import check_rule, choose_weights
from skinclf.evaluation.predictions import Predictions
from skinclf.spark.splits import TRAIN, VAL
from skinclf.spec.decision import Decision, DecisionRule, decide, warn_of_views
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import RunFolder
from skinclf.training.predictor import Predictor

log = logging.getLogger(__name__)


def kept_decision(
    asked: DecisionRule, run: RunFolder, model: Predictor, dataset: Dataset
) -> Decision | None:
    """The decision that the run keeps of its model, where the rule is "stored".

    Raises what `check_decision` does, and RunError where what is kept can't be used.
    """
    check_decision(asked, dataset.taxonomy, dataset.count(VAL))
    kept = run.read_decision(model.digest) if asked.rule == "stored" else None
    warn_of_views(kept, model.tta, "evaluate.tta")
    return kept


def check_decision(asked: DecisionRule, taxonomy: Taxonomy, validation: float) -> None:
    """Raise ConfigError where classes can't be decided on as asked. `validation`: how many images,
    or which share of them, are there to choose on.
    """
    fault = check_rule(asked, taxonomy)
    if not fault and asked.is_chosen and not validation:
        fault = f'rule = "{asked.rule}" needs validation images, and there are none: split.val'
    if fault:
        raise ConfigError(f"decision.{fault}")


def chosen_decision(
    asked: DecisionRule, validation: Predictions, dataset: Dataset, model: Predictor
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
        model=model.digest,
        tta=model.tta,
        validation=dict(zip(weights, counts.tolist(), strict=True)),
    )
