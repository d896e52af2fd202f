"""The network, its optimizer and its steps: what a worker computes, and what it adds up.

Nothing here knows of epochs, checkpoints or folders.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from skinclf.config import ModelConfig, TrainConfig
from skinclf.dataset_folder import Dataset
from skinclf.labels import CODES
from skinclf.learn.augment import augmented
from skinclf.learn.batches import DRAWS, Batch, steps_an_epoch
from skinclf.learn.cluster import Place, make_strategy
from skinclf.learn.dropout import dropped
from skinclf.learn.network import build_network
from skinclf.learn.shards import Images
from skinclf.schemas import CHANNELS, HEIGHT, WIDTH

Sums = NDArray[np.float64]
"""Loss, right answers, right binary answers, images; then the confusion matrix, row by row."""

PIXELS = tf.TensorSpec((None, HEIGHT, WIDTH, CHANNELS), tf.uint8)
LABELS = tf.TensorSpec((None,), tf.int32)
RANDOM = tf.TensorSpec((None, DRAWS), tf.float32)
SEEDS = tf.TensorSpec((None, 2), tf.int32)
SUMS = tf.TensorSpec((4 + len(CODES) ** 2,), tf.float64)

TINY = 1e-30
"""Below every probability that matters, above what float32 takes for 0."""


@dataclass
class Trainer:
    """What training changes and needs: the state that a checkpoint has to hold is in here."""

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    train_step: Callable[[Batch], tf.Tensor]  # a worker's part of a batch → sums of all workers
    test_step: Callable[[Images], tf.Tensor]  # a worker's images → their sums
    sum_over_workers: Callable[[Sums], tf.Tensor]  # a collective: all workers call it


def make_trainer(
    network: ModelConfig, config: TrainConfig, place: Place, dataset: Dataset
) -> Trainer:
    """Meet the other workers and build the network, alike on all of them by `config.seed`."""
    strategy = make_strategy(place)
    keras.utils.set_random_seed(config.seed)
    steps = steps_an_epoch(dataset.rows_of("train"), config.global_batch)
    with strategy.scope():
        model = build_network(network, config.dropout, config.precision)
        optimizer = make_optimizer(config, steps)
        optimizer.build(model.trainable_variables)
    return trainer_of(strategy, model, optimizer, config, dataset.counts["train"])


def trainer_of(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainConfig,
    counts: dict[str, int],
) -> Trainer:
    """The steps of a network; `counts` are the training images of each class."""
    predict = with_dropout(model, config.dropout)
    objective = make_objective(config, counts)

    def sums(probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        truth = tf.one_hot(labels, len(CODES), dtype=probabilities.dtype)
        losses = keras.losses.get(config.loss)(truth, probabilities)
        return batch_sums(losses, probabilities, labels)

    def learn(
        pixels: tf.Tensor, labels: tf.Tensor, draws: tf.Tensor, seeds: tf.Tensor
    ) -> tf.Tensor:
        images = augmented(pixels, draws, config.augment) if config.augment.any else pixels
        with tf.GradientTape() as tape:
            probabilities = predict(images, seeds)
            # The sum over the global count: gradients then add up to the global batch's mean.
            mean = tf.reduce_sum(objective(labels, probabilities)) / config.global_batch
        gradients = tape.gradient(mean, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return add_up(sums(probabilities, labels))

    def test(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return sums(model(pixels, training=False), labels)

    def add_up(local: tf.Tensor) -> tf.Tensor:
        placed = tf.identity(local)  # on this replica's device, where the collective runs
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)

    # Nothing below needs AutoGraph, which leaves the files that it generates behind.
    @tf.function(input_signature=[PIXELS, LABELS, RANDOM, SEEDS], autograph=False)
    def train_step(*batch: tf.Tensor) -> tf.Tensor:
        return strategy.run(learn, args=batch)

    @tf.function(input_signature=[PIXELS, LABELS], autograph=False)
    def test_step(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return strategy.run(test, args=(pixels, labels))

    @tf.function(input_signature=[SUMS], autograph=False)
    def sum_over_workers(local: tf.Tensor) -> tf.Tensor:
        return strategy.run(add_up, args=(local,))

    return Trainer(
        model,
        optimizer,
        lambda batch: train_step(batch.pixels, batch.labels, batch.draws, batch.seeds),
        lambda images: test_step(images.pixels, images.labels),
        sum_over_workers,
    )


def with_dropout(model: keras.Model, rate: float) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """How a network predicts in training: images and the seeds of their masks → probabilities.

    Keras's own layer, whose masks depend on the worker and the step, is left out.
    """
    layer = model.get_layer("dropout")
    before = keras.Model(model.input, layer.input)
    after = keras.Model(layer.output, model.output)

    def predict(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        features = before(images, training=True)
        return after(dropped(features, seeds, rate) if rate else features, training=True)

    return predict


def make_optimizer(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    """Adam or AdamW, with the learning rate's schedule for epochs of so many steps."""
    rate = config.learning_rate
    if config.schedule == "cosine":
        warmup = config.warmup_epochs * steps
        total = config.epochs * steps
        rate = (
            keras.optimizers.schedules.CosineDecay(
                0.0, total - warmup, warmup_target=config.learning_rate, warmup_steps=warmup
            )
            if warmup
            else keras.optimizers.schedules.CosineDecay(config.learning_rate, total)
        )
    if config.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def make_objective(
    config: TrainConfig, counts: dict[str, int]
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """What training makes small: labels (n,) and probabilities (n, 7) → losses (n,).

    The loss of history.jsonl with, where configured, its targets smoothed, each class weighted,
    and the logits adjusted: the loss is taken of softmax(logits + τ log prior), so that the
    network itself answers as if classes were less unequal (Menon et al., arXiv:2007.07314).
    """
    loss = keras.losses.get(config.loss)
    weights = tf.constant(class_weights(config, counts))
    images = np.array([max(counts.get(code, 0), 1) for code in CODES], np.float64)
    prior = config.logit_adjustment * np.log(images / images.sum())

    def objective(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        truth = tf.one_hot(labels, len(CODES), dtype=probabilities.dtype)
        if config.label_smoothing:
            truth = truth * (1 - config.label_smoothing) + config.label_smoothing / len(CODES)
        if config.logit_adjustment:
            logits = tf.math.log(tf.maximum(probabilities, TINY))
            # Keras takes the logits of what it sees coming out of a softmax.
            probabilities = tf.nn.softmax(logits + tf.cast(prior, logits.dtype))
        losses = loss(truth, probabilities)
        return losses * tf.cast(tf.gather(weights, labels), losses.dtype)

    return objective


def class_weights(config: TrainConfig, counts: dict[str, int]) -> NDArray[np.float32]:
    """(7,) how much an image of each class counts; the mean over all images is 1."""
    images = np.array([counts.get(code, 0) for code in CODES], np.float32)
    if config.class_weighting == "none":
        return np.ones_like(images)
    return images.sum() / (np.count_nonzero(images) * np.maximum(images, 1))


def batch_sums(losses: tf.Tensor, probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """One batch's `Sums`, float64. losses, labels: (n,); probabilities: (n, 7)."""
    answers = tf.argmax(probabilities, axis=1, output_type=tf.int32)
    truth = tf.one_hot(labels, len(CODES), on_value=True, off_value=False)
    binary = tf.reduce_mean(tf.cast((probabilities > 0.5) == truth, tf.float64), axis=1)
    sums = [
        tf.reduce_sum(tf.cast(losses, tf.float64)),
        tf.reduce_sum(tf.cast(answers == labels, tf.float64)),
        tf.reduce_sum(binary),
        tf.cast(tf.size(labels), tf.float64),
    ]
    confusion = tf.math.confusion_matrix(labels, answers, len(CODES), dtype=tf.float64)
    return tf.concat([tf.stack(sums), tf.reshape(confusion, [-1])], 0)


def metrics_of(sums: Sums) -> dict[str, float]:
    """`Sums` → loss, accuracy, binary and balanced accuracy (mean recall of classes present).

    Empty where no image was seen.
    """
    loss, right, binary, count = sums[:4]
    if count == 0:
        return {}
    confusion = sums[4:].reshape(len(CODES), len(CODES))
    present = confusion.sum(axis=1) > 0
    recalls = confusion.diagonal()[present] / confusion.sum(axis=1)[present]
    return {
        "loss": float(loss / count),
        "accuracy": float(right / count),
        "binary_accuracy": float(binary / count),
        "balanced_accuracy": float(recalls.mean()),
    }


def predicted_shares(sums: Sums) -> dict[str, float]:
    """`Sums` → `predicted_nv` and so on: the share of the images that is predicted as each class.

    Empty where no image was seen.
    """
    if sums[3] == 0:
        return {}
    predicted = sums[4:].reshape(len(CODES), len(CODES)).sum(axis=0) / sums[3]
    return {f"predicted_{code}": float(predicted[label]) for label, code in enumerate(CODES)}


def model_bytes(weights: list[NDArray], network: ModelConfig, dropout: float) -> bytes:
    """model.keras as bytes: a plain float32 network that knows no strategy."""
    plain = build_network(network, dropout)
    plain.set_weights(weights)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        plain.save(file)
        return file.read_bytes()
