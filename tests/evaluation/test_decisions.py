from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from skinclf.evaluation.accuracy import accuracy, balanced_accuracy
from skinclf.evaluation.decisions import check_rule, choose_weights, decision_metrics
from skinclf.evaluation.operating_points import positives_to_find
from skinclf.evaluation.predictions import Predictions
from skinclf.spec.decision import Decision, DecisionRule, decide
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from tests.evaluation.drawn import drawn_predictions

TWO = Taxonomy(codes=("mel", "nv"))
TRAINED = {"mel": 100, "nv": 900}


def two_classes(images: int = 2000) -> Predictions:
    """A tenth is mel; probabilities are what they say."""
    random = np.random.default_rng(3)
    mel = random.beta(0.4, 3.6, images)
    labels = np.where(random.random(images) < mel, 0, 1).astype(np.int32)
    probabilities = np.stack([mel, 1 - mel], axis=1).astype(np.float32)
    names = [str(n) for n in range(images)]
    return Predictions(labels, probabilities, names, np.arange(images), TWO)


def decided(rule: DecisionRule, images: Predictions) -> Predictions:
    weights = tuple(choose_weights(rule, images, TRAINED).values())
    return replace(images, decided=decide(images.probabilities, weights))


def test_each_rule_is_best_at_what_it_is_for() -> None:
    images = two_classes()
    rules = [
        DecisionRule(rule="accuracy"),
        DecisionRule(rule="balanced_accuracy"),
        DecisionRule(rule="costs", costs={"mel": 20}),
        DecisionRule(rule="both_accuracies"),
    ]

    def cost(found: Predictions) -> float:
        wrong = found.predicted != found.labels
        return float(np.where(found.labels == 0, 20, 1)[wrong].sum())

    found = [decided(rule, images) for rule in rules]
    accuracies = [accuracy(each.labels, each.predicted) for each in found]
    balanced = [balanced_accuracy(each.labels, each.predicted) for each in found]
    assert accuracies[0] == max(accuracies) > accuracies[1]
    assert balanced[1] == max(balanced) > balanced[0] + 0.1
    assert cost(found[2]) == min(map(cost, found)) < 0.9 * cost(found[1])
    both = [sum(pair) for pair in zip(accuracies, balanced, strict=True)]
    assert both[3] == max(both) > max(both[:3])


def test_costs_weigh_calibrated_probabilities() -> None:
    """A model that is twice too sure of everything comes to the same decisions."""
    images = two_classes()
    squares = images.probabilities**2
    surer = replace(images, probabilities=squares / squares.sum(axis=1, keepdims=True))
    rule = DecisionRule(rule="costs", costs={"mel": 20})
    same = decided(rule, images).predicted == decided(rule, surer).predicted
    assert same.mean() > 0.99


@pytest.mark.parametrize(
    "rule",
    [
        DecisionRule(rule="costs", costs={"mel": 5}),
        DecisionRule(rule="accuracy"),
        DecisionRule(rule="balanced_accuracy"),
        DecisionRule(rule="both_accuracies"),
    ],
)
def test_costs_give_back_the_prior_that_training_took_away(rule: DecisionRule) -> None:
    """Logit adjustment leaves probabilities that are too high for rare classes."""
    images = two_classes()
    shifted = images.probabilities / np.array([TRAINED["mel"], TRAINED["nv"]]) ** 0.4
    adjusted = replace(images, probabilities=shifted / shifted.sum(axis=1, keepdims=True))
    same = decided(rule, images).predicted == decided(rule, adjusted).predicted
    assert same.mean() > 0.99


@pytest.mark.parametrize("rule", ["accuracy", "balanced_accuracy", "both_accuracies"])
def test_a_class_without_a_training_image_is_never_decided_on(rule: str) -> None:
    """As the rarest of all it would be preferred to every other."""
    images = two_classes()
    some = np.full((len(images.labels), 1), 0.01, np.float32)
    three = replace(
        images,
        probabilities=np.hstack([images.probabilities * 0.99, some]),
        taxonomy=Taxonomy(codes=("mel", "nv", "vasc")),
    )
    asked = DecisionRule.model_validate({"rule": rule})
    found = decided(asked, three).predicted
    assert (found != 2).all()
    assert (found == decided(asked, images).predicted).mean() > 0.99


def test_a_class_without_a_training_image_has_the_cost_that_was_named() -> None:
    rule = DecisionRule(rule="costs", costs={"mel": 5})
    weights = choose_weights(rule, two_classes(), {"nv": 900})
    assert weights["mel"] > 1e-3


@pytest.mark.parametrize("sensitivity", [0.5, 0.9, 1.0])
def test_the_screened_class_is_found_as_often_as_is_asked(sensitivity: float) -> None:
    """Of the seven classes one is raised, no further than has to be."""
    images = drawn_predictions(600, 1)
    label = HAM10000.label_of("mel")
    positives = images.labels == label
    rule = DecisionRule(rule="sensitivity", sensitivity=sensitivity)
    weights = choose_weights(rule, images, {})
    assert {code for code, weight in weights.items() if weight != 1} == {"mel"}
    found = decide(images.probabilities, tuple(weights.values())) == label
    assert found[positives].sum() == positives_to_find(int(positives.sum()), sensitivity)


def test_a_model_that_is_quite_sure_gets_weights_above_0() -> None:
    sure = replace(two_classes(), probabilities=np.eye(2, dtype=np.float32)[two_classes().labels])
    weights = choose_weights(DecisionRule(rule="sensitivity"), sure, {})
    assert (
        Decision(asked=DecisionRule(), weights=weights, model="", validation={}).weights["mel"] > 0
    )


def test_a_screened_class_without_validation_images_stays_as_it_is() -> None:
    images = drawn_predictions(60, 1)
    without = images.subset(images.labels != HAM10000.label_of("mel"))
    assert set(choose_weights(DecisionRule(rule="sensitivity"), without, {}).values()) == {1.0}


def test_metrics_of_the_most_probable_classes_stand_beside() -> None:
    images = decided(DecisionRule(rule="balanced_accuracy"), two_classes())
    found = decision_metrics(DecisionRule(rule="balanced_accuracy"), {}, images)
    assert found.accuracy > accuracy(images.labels, images.predicted)
    assert found.balanced_accuracy < balanced_accuracy(images.labels, images.predicted)


def test_confidence_is_the_probability_of_what_was_decided() -> None:
    images = decided(DecisionRule(rule="balanced_accuracy"), two_classes())
    changed = images.predicted != images.probabilities.argmax(axis=1)
    assert changed.any()
    assert (images.confidence[changed] < 0.5).all()
    part = images.subset(changed)
    assert (part.predicted == images.predicted[changed]).all()


def test_what_can_t_be_decided_by_is_told() -> None:
    assert "foo is no class" in check_rule(DecisionRule(rule="costs", costs={"foo": 2}), TWO)
    unscreened = Taxonomy(codes=("a", "b"), majority="a", screened="")
    assert "screened" in check_rule(DecisionRule(rule="sensitivity"), unscreened)
    for given in ({"rule": "costs"}, {"costs": {"mel": 2}}, {"rule": "costs", "costs": {"mel": 0}}):
        with pytest.raises(ValidationError):
            DecisionRule.model_validate(given)
