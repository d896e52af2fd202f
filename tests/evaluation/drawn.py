"""Predictions that are drawn, with a top-1 accuracy of about 0.7, and their result."""

from typing import Any

import numpy as np

from skinclf.evaluation.assessment import assess
from skinclf.evaluation.cross_validation import Pooled, pooled_result
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import CrossValidation, EvaluationResult, FoldResult
from skinclf.evaluation.sources import part_metrics
from skinclf.spec.taxonomy import HAM10000, Taxonomy

GROUP_VALUES = {
    "sex": ("female", "male", "unknown"),
    "age": ("0–29", "30–44", "45–59", "60–74", "75+"),
    "localization": ("back", "face", "scalp", "trunk", "unknown"),
    "dx_type": ("confocal", "consensus", "follow_up", "histo"),
}


def drawn_predictions(images: int, seed: int, taxonomy: Taxonomy = HAM10000) -> Predictions:
    """`images` photographs of about three quarters as many lesions, and their patients' groups.

    Probabilities have two decimals, so that many are equal.
    """
    random = np.random.default_rng(seed)
    classes = len(taxonomy)
    lesions = np.sort(random.integers(0, max(3 * images // 4, 1), images))
    lesions = np.unique(lesions, return_inverse=True)[1]
    shares = np.full(classes, 0.33 / (classes - 1))
    shares[taxonomy.label_of(taxonomy.majority)] = 0.67
    labels = random.choice(classes, lesions.max() + 1, p=shares)[lesions].astype(np.int32)
    logits = random.normal(0, 1, (images, classes))
    logits[np.arange(images), labels] += 2
    powers = np.exp(logits)
    probabilities = (powers / powers.sum(axis=1, keepdims=True)).round(2).astype(np.float32)
    groups = {
        column: random.choice(np.array(values), images) for column, values in GROUP_VALUES.items()
    }
    names = [f"I{n:06}" for n in range(images)]
    return Predictions(labels, probabilities, names, lesions, taxonomy, groups)


def evaluation_result(predictions: Predictions, **options: Any) -> EvaluationResult:
    """The result of these predictions, which are their own validation; `options`: of `assess`."""
    assessment = assess(predictions, predictions, **{"sensitivities": (), "rounds": 5, **options})
    return EvaluationResult.model_validate(
        {
            "set": "test",
            "digest": "0" * 64,
            "tta": "none",
            "split_by": "lesion",
            "chosen_on": "val",
            "rejects": {"empty": 1},
            "leaks": {"images": 0, "by_key": {}, "near_duplicates": 2},
            "validation": {"accuracy": 0.7, "balanced_accuracy": 0.5},
            **dict(assessment),
        }
    )


def drawn_folds(images: int = 120) -> Pooled:
    """Three folds of one draw; a third of its lesions each."""
    predictions = drawn_predictions(images, 1)
    fold = predictions.lesions % 3
    results = [
        evaluation_result(predictions.subset(fold == place), sensitivities=(0.8,))
        for place in range(3)
    ]
    return Pooled(predictions, fold, results)


def drawn_cross_validation() -> CrossValidation:
    """The same as cross-validation.json has it, without validation images."""
    pooled = drawn_folds()
    folds = [
        FoldResult(
            name=f"fold-{place + 1}",
            title=f"fold {place + 1}",
            model="0" * 64,
            trained_on=80,
            metrics=part_metrics(pooled.predictions.subset(pooled.fold == place), 5),
            validation={},
        )
        for place in range(3)
    ]
    result = pooled_result(pooled, "3 folds", rounds=5)
    return CrossValidation(by="fold", folds=tuple(folds), only_trained_on={}, pooled=result)
