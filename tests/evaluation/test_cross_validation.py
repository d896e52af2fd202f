import numpy as np
import pytest

from skinclf.evaluation.cross_validation import pooled_result
from skinclf.evaluation.predictions import Predictions
from skinclf.evaluation.result import CrossValidation, DecisionMetrics, EvaluationResult
from skinclf.spec.decision import NEVER, DecisionRule
from tests.evaluation.drawn import drawn_cross_validation, drawn_folds, evaluation_result


def flagged(predictions: Predictions, result: EvaluationResult) -> int:
    mel = predictions.taxonomy.label_of("mel")
    threshold = np.float32(result.screening[0].threshold)
    return int((predictions.probabilities[:, mel] >= threshold).sum())


def test_pooled_metrics_are_those_of_all_images_together() -> None:
    pooled = drawn_folds()
    result = pooled_result(pooled, "3 folds", rounds=5)
    whole = evaluation_result(pooled.predictions)
    for name in ("images", "lesions", "model", "intervals", "classes", "confusion", "subgroups"):
        assert getattr(result, name) == getattr(whole, name), name
    assert (result.set, result.chosen_on, result.split_by) == ("3 folds", "val", "lesion")
    assert result.leaks.near_duplicates == 6
    assert EvaluationResult.from_json(result.to_json()) == result


def test_each_model_has_its_own_threshold_and_temperature() -> None:
    pooled = drawn_folds()
    (point,) = pooled_result(pooled, "3 folds", rounds=20).screening
    parts = [pooled.predictions.subset(pooled.fold == place) for place in range(3)]
    assert point.flagged == sum(map(flagged, parts, pooled.results))
    hits = sum(
        (each.screening[0].sensitivity or 0) * each.classes["mel"].images for each in pooled.results
    )
    melanomas = sum(each.classes["mel"].images for each in pooled.results)
    assert point.sensitivity == pytest.approx(hits / melanomas)
    low, high = point.intervals["specificity"]
    assert low is not None
    assert high is not None
    assert low < (point.specificity or 0) < high
    scaled = pooled_result(pooled, "3 folds", rounds=5).calibration.scaled
    expected = np.average(
        [each.calibration.scaled.categorical_crossentropy for each in pooled.results],
        weights=[each.images for each in pooled.results],
    )
    assert scaled.categorical_crossentropy == pytest.approx(expected)


def test_the_fall_is_that_of_all_test_images_from_the_mean_of_the_models() -> None:
    found = drawn_cross_validation()
    assert found.fall is None  # no validation images
    folds = [
        fold.model_copy(
            update={
                "validation": {"balanced_accuracy": value},
                "classes": tuple(found.pooled.taxonomy.codes),
            }
        )
        for fold, value in zip(found.folds, (0.8, 0.9, 1.0), strict=True)
    ]
    known = found.model_copy(update={"folds": tuple(folds)})
    assert known.fall == pytest.approx(0.9 - found.pooled.model["balanced_accuracy"])
    assert CrossValidation.from_json(known.to_json()) == known
    fewer = folds[0].model_copy(update={"classes": folds[0].classes[1:]})
    assert known.model_copy(update={"folds": (fewer, *folds[1:])}).fall is None


def test_the_mean_weight_of_a_class_is_of_the_models_that_know_it() -> None:
    """A source that was left out may have all images of one."""
    pooled = drawn_folds()
    rule = DecisionRule(rule="balanced_accuracy")
    results = []
    for result, of_vasc in zip(pooled.results, (2.0, NEVER, 8.0), strict=True):
        weights = dict.fromkeys(result.taxonomy.codes, 1.0) | {"vasc": of_vasc}
        decision = DecisionMetrics(asked=rule, weights=weights, accuracy=0, balanced_accuracy=0)
        results.append(result.model_copy(update={"decision": decision}))
    found = pooled_result(pooled._replace(results=results), "3 folds", rounds=5).decision
    assert found
    assert found.weights["vasc"] == pytest.approx(4)
    assert found.weights["nv"] == 1
