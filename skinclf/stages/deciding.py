"""How an evaluation decides on one class: as its run does, or by weights that it chooses."""

import logging
from contextlib import suppress

import numpy as np

from skinclf.errors import ConfigError, RunError
from skinclf.evaluation.decisions import check_rule, choose_weights
from skinclf.evaluation.operating_points import expected_sensitivity, screened
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
    """The decision that the run keeps of its model, where the rule is "stored" or the very one that
    it was chosen by: chosen anew, by another engine or on another machine, the weights would differ
    in their last digits, and scores have their folder by them.

    Raises ConfigError where validation images don't do for what is asked, and RunError where what
    is kept can't be used.
    """
    check_decision(asked, dataset.taxonomy, has_validation=dataset.count(VAL) > 0)
    check_classes(asked, dataset)
    if asked.rule == "stored":
        kept = run.read_decision(model.digest)
        warn_of_views(kept, model.tta, "evaluate.tta")
        return kept
    with suppress(RunError):  # what can't be used is chosen anew
        kept = run.read_decision(model.digest)
        if kept and (kept.asked, kept.tta) == (asked, model.tta):
            log.info("decision.rule = %s: the weights are those that the run keeps", asked.rule)
            return kept
    return None


def check_decision(asked: DecisionRule, taxonomy: Taxonomy, *, has_validation: bool) -> None:
    """Raise ConfigError where classes can't be decided on as asked: most rules are chosen on
    validation images.
    """
    fault = check_rule(asked, taxonomy)
    if not fault and asked.is_chosen and not has_validation:
        fault = f'rule = "{asked.rule}" needs validation images, and there are none: split.val'
    if fault:
        raise ConfigError(f"decision.{fault}")


def check_classes(asked: DecisionRule, dataset: Dataset) -> None:
    """Warn of classes without a training or validation image. Raises ConfigError where the one
    whose sensitivity is asked for has none to choose on.
    """
    taxonomy = dataset.taxonomy
    untrained, missing = (_without(dataset, split) for split in (TRAIN, VAL))
    if asked.rule == "sensitivity" and taxonomy.screened in missing:
        raise ConfigError(
            f'decision.rule = "sensitivity": no validation image is of {taxonomy.screened}, so no '
            f"weight can be chosen"
        )
    if not asked.is_chosen or asked.rule == "sensitivity":
        return
    unnamed = [code for code in untrained if code not in asked.costs]
    if unnamed:
        log.warning(
            "decision.rule = %s: no training image is of %s: never predicted",
            asked.rule,
            ", ".join(unnamed),
        )
    if missing := [code for code in missing if code not in unnamed]:
        log.warning(
            "decision.rule = %s: no validation image is of %s: how well these classes are decided "
            "on plays no part in the choice",
            asked.rule,
            ", ".join(missing),
        )


def _without(dataset: Dataset, split: str) -> list[str]:
    """The classes of which a split has no image."""
    there = dataset.counts.get(split, {})
    return [code for code in dataset.taxonomy.codes if not there.get(code)]


def _warn_of_few(asked: DecisionRule, validation: Predictions) -> None:
    count = int(screened(validation)[0].sum())
    expected = expected_sensitivity(count, asked.sensitivity)
    if expected < asked.sensitivity:
        log.warning(
            "decision.rule = sensitivity: %s validation images of %s are too few for %.2f; %.2f is "
            "to be expected",
            count,
            validation.taxonomy.screened,
            asked.sensitivity,
            expected,
        )


def chosen_decision(
    asked: DecisionRule, validation: Predictions, dataset: Dataset, model: Predictor
) -> Decision:
    """The decision by a rule that needs the model's predictions for validation images."""
    if asked.rule == "sensitivity":
        _warn_of_few(asked, validation)
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
