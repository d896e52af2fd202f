import numpy as np
import pytest
import tensorflow as tf

from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.evaluation.metrics import summary
from skinclf.spec.taxonomy import CODES
from skinclf.training.losses import LOSSES, class_weights, make_objective
from skinclf.training.models import build_network
from skinclf.training.trainer import Logits

LOGITS = np.array([[3, -2, 1, 0, 5, -4, 2], [0, 0, 0, 0, 0, 9, 0]], np.float32)
LABELS = np.array([1, 5], np.int32)


@pytest.mark.parametrize("name", LOSSES)
def test_training_makes_small_what_evaluation_reports(name: str) -> None:
    """Keras's own binary_crossentropy would take a sigmoid of the logits of a softmax."""
    truth = tf.one_hot(LABELS, 7)
    losses = tf.function(LOSSES[name], autograph=False)(truth, LOGITS)
    reported = summary(LABELS, tf.nn.softmax(LOGITS).numpy())[name]
    assert float(tf.reduce_mean(losses)) == pytest.approx(reported, rel=1e-5)


def test_logits_are_what_the_softmax_of_the_network_gets() -> None:
    model = build_network(ModelConfig(name="compact"), dropout=0.0)
    images = np.random.default_rng(0).integers(0, 256, (2, 75, 100, 3)).astype(np.float32)
    logits = Logits(model)
    for found in (logits.inference(images), logits.training(images, np.zeros((2, 2)), 0.0)):
        assert tf.nn.softmax(found).numpy() == pytest.approx(model(images).numpy(), abs=1e-6)


def test_with_logit_adjustment_the_surest_error_still_has_a_gradient() -> None:
    """At a probability of 1e-87 as well, which float32 takes for 0."""
    config = TrainConfig(logit_adjustment=1.0)
    objective = make_objective(config, {"nv": 90, "mel": 10})
    logits = tf.Variable([[0.0, 0, 0, 0, 0, 200, 0]])
    with tf.GradientTape() as tape:
        loss = objective(tf.constant([4]), logits)
    gradient = tape.gradient(loss, logits).numpy()[0]
    assert float(loss[0]) > 150
    assert (gradient[4], gradient[5]) == pytest.approx((-1, 1))


def test_balanced_classes_weigh_the_same_in_all() -> None:
    counts = {"nv": 60, "mel": 30, "df": 10}
    weights = class_weights(TrainConfig(class_weighting="balanced"), counts)
    by_class = dict(zip(CODES, weights, strict=True))
    assert by_class["nv"] * 60 == pytest.approx(by_class["df"] * 10)
    assert sum(by_class[code] * counts[code] for code in counts) == pytest.approx(100)
    assert class_weights(TrainConfig(), counts).tolist() == [1.0] * 7
