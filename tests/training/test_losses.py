import numpy as np
import pytest
import tensorflow as tf

from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.evaluation.metrics import summary
from skinclf.evaluation.predictions import Predictions
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.taxonomy import HAM10000
from skinclf.training.losses import LOSSES, class_weights, make_objective
from skinclf.training.networks import NETWORKS, build_network
from skinclf.training.trainer import Logits

LOGITS = np.array([[3, -2, 1, 0, 5, -4, 2], [0, 0, 0, 0, 0, 9, 0]], np.float32)
LABELS = np.array([1, 5], np.int32)


@pytest.mark.parametrize("name", LOSSES)
def test_training_makes_small_what_evaluation_reports(name: str) -> None:
    """Keras's own binary_crossentropy would take a sigmoid of the logits of a softmax."""
    truth = tf.one_hot(LABELS, 7)
    losses = tf.function(LOSSES[name], autograph=False)(truth, LOGITS)
    probabilities = tf.nn.softmax(LOGITS).numpy()
    images = Predictions(LABELS, probabilities, ["a", "b"], np.arange(2), HAM10000)
    reported = summary(images)[name]
    assert float(tf.reduce_mean(losses)) == pytest.approx(reported, rel=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_what_the_softmax_of_the_network_gets(name: str) -> None:
    model = build_network(ModelConfig(name=name), BENBRAHIM_2020, 7, dropout=0.0)
    images = np.random.default_rng(0).integers(0, 256, (2, 75, 100, 3)).astype(np.float32)
    logits = Logits(model)
    found = tf.nn.softmax(logits.inference(images)).numpy()
    assert found == pytest.approx(model(images).numpy(), abs=1e-6)
    found = tf.nn.softmax(logits.training(images, np.zeros((2, 2)), 0.0)).numpy()
    # With the statistics of the batch, where the network normalizes by them.
    assert found == pytest.approx(model(images, training=True).numpy(), abs=1e-6)


def test_smoothed_labels_leave_a_part_of_the_truth_to_all_classes() -> None:
    images = np.full(7, 10)
    plain, smoothed = (
        make_objective(TrainConfig(label_smoothing=share), images)(
            tf.constant(LABELS), tf.constant(LOGITS)
        ).numpy()
        for share in (0.0, 0.1)
    )
    of_all_classes = -tf.nn.log_softmax(LOGITS).numpy().mean(axis=1)
    assert smoothed == pytest.approx(0.9 * plain + 0.1 * of_all_classes, rel=1e-5)


def test_with_logit_adjustment_the_surest_error_still_has_a_gradient() -> None:
    """At a probability of 1e-87 as well, which float32 takes for 0."""
    config = TrainConfig(logit_adjustment=1.0)
    objective = make_objective(config, np.array([0, 0, 0, 0, 10, 90, 0]))
    logits = tf.Variable([[0.0, 0, 0, 0, 0, 200, 0]])
    with tf.GradientTape() as tape:
        loss = objective(tf.constant([4]), logits)
    gradient = tape.gradient(loss, logits).numpy()[0]
    assert float(loss[0]) > 150
    assert (gradient[4], gradient[5]) == pytest.approx((-1, 1))


def test_logit_adjustment_does_not_raise_a_class_without_images() -> None:
    """By a count of one in a hundred it would be pushed down the least of all."""
    images = np.array([0, 10, 90])
    logits = tf.Variable([[0.0, 0, 0]])
    with tf.GradientTape() as tape:
        loss = make_objective(TrainConfig(logit_adjustment=1.0), images)(tf.constant([2]), logits)
    absent, rare, _ = tape.gradient(loss, logits).numpy()[0]
    assert absent > 5 * rare


def test_balanced_classes_weigh_the_same_in_all() -> None:
    images = np.array([0, 10, 30, 60])
    weights = class_weights(TrainConfig(class_weighting="balanced"), images)
    assert weights[3] * 60 == pytest.approx(weights[1] * 10)
    assert weights @ images == pytest.approx(100)
    assert class_weights(TrainConfig(), images).tolist() == [1.0] * 4
