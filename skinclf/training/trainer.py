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

from skinclf.config.schema import TrainConfig
from skinclf.training.augmentation import augmented
from skinclf.training.batches import DRAWS, Batch, steps_an_epoch
from skinclf.training.dropout import dropped
from skinclf.training.job import TrainingJob, WorkerContext
from skinclf.training.losses import LOSSES, make_objective
from skinclf.training.networks import build_network
from skinclf.training.normalization import with_fused_normalization
from skinclf.training.optimizers import make_optimizer
from skinclf.training.shards import Images
from skinclf.training.strategy import make_strategy
from skinclf.training.sums import Sums, length
from skinclf.training.teachers import Teacher, make_teacher

LABELS = tf.TensorSpec((None,), tf.int32)
RANDOM = tf.TensorSpec((None, len(DRAWS)), tf.float32)
SEEDS = tf.TensorSpec((None, 2), tf.int32)


@dataclass
class Trainer:
    """What training changes and needs: the state that a checkpoint has to hold is in here."""

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    train_step: Callable[[Batch], tf.Tensor]  # a worker's part of a batch → sums of all workers
    test_step: Callable[[Images], tf.Tensor]  # a worker's images → their sums
    sum_over_workers: Callable[[Sums], tf.Tensor]  # a collective: all workers call it


def make_trainer(job: TrainingJob, context: WorkerContext) -> Trainer:
    """Meet the other workers and build the network, alike on all of them by `train.seed`."""
    config, dataset = job.config, job.dataset
    strategy = make_strategy(context)
    keras.utils.set_random_seed(config.seed)
    steps = steps_an_epoch(dataset.rows_of("train"), config.global_batch_size)
    with strategy.scope():
        model = build_network(
            job.model,
            dataset.image,
            len(dataset.taxonomy),
            dropout=config.dropout,
            precision=config.precision,
        )
        model = with_fused_normalization(model)
        optimizer = make_optimizer(config, steps)
        optimizer.build(model.trainable_variables)
        teacher = make_teacher(job.teachers)
    counts = dataset.counts["train"]
    images = np.array([counts.get(code, 0) for code in dataset.taxonomy.codes])
    return trainer_of(strategy, model, optimizer, config, images, teacher)


def trainer_of(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainConfig,
    images: NDArray[np.int64],
    teacher: Teacher | None = None,
) -> Trainer:
    """The steps of a network; `images` (classes,) counts the training images of each class."""
    logits, classes = Logits(model), len(images)
    objective = make_objective(config, images)
    pixels_spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    sums_spec = tf.TensorSpec((length(classes),), tf.float64)

    def sums(found: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        truth = tf.one_hot(labels, classes, dtype=found.dtype)
        return batch_sums(LOSSES[config.loss](truth, found), tf.nn.softmax(found), labels)

    def learn(
        pixels: tf.Tensor, labels: tf.Tensor, draws: tf.Tensor, seeds: tf.Tensor
    ) -> tf.Tensor:
        images = augmented(pixels, draws, config.augment) if config.augment.any else pixels
        taught = teacher(images) if teacher else None
        with tf.GradientTape() as tape:
            found = logits.training(images, seeds, config.dropout)
            losses = objective(labels, found)
            if taught is not None:
                of_taught = LOSSES[config.loss](taught, found)
                losses += config.teacher_weight * (of_taught - losses)
            # The sum over the global count: gradients then add up to the global batch's mean.
            mean = tf.reduce_sum(losses) / config.global_batch_size
        gradients = tape.gradient(mean, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return add_up(sums(found, labels))

    def test(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return sums(logits.inference(pixels), labels)

    # Nothing below needs AutoGraph, which leaves the files that it generates behind.
    @tf.function(input_signature=[pixels_spec, LABELS, RANDOM, SEEDS], autograph=False)
    def train_step(*batch: tf.Tensor) -> tf.Tensor:
        return strategy.run(learn, args=batch)

    @tf.function(input_signature=[pixels_spec, LABELS], autograph=False)
    def test_step(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return strategy.run(test, args=(pixels, labels))

    @tf.function(input_signature=[sums_spec], autograph=False)
    def sum_over_workers(local: tf.Tensor) -> tf.Tensor:
        return strategy.run(add_up, args=(local,))

    return Trainer(
        model,
        optimizer,
        lambda batch: train_step(batch.pixels, batch.labels, batch.draws, batch.seeds),
        lambda images: test_step(images.pixels, images.labels),
        lambda local: sum_over_workers(local.vector),
    )


def add_up(local: tf.Tensor) -> tf.Tensor:
    """The sum over all workers; in a replica's context."""
    placed = tf.identity(local)  # on this replica's device, where the collective runs
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)


class Logits:
    """A network up to its softmax: what losses are computed from, however sure it is.

    What follows the layer `dropout` is one layer after another, the last of them the softmax's.
    """

    def __init__(self, model: keras.Model) -> None:
        dropout = model.get_layer("dropout")
        self._before = keras.Model(model.input, dropout.input)
        *self._after, self._head = model.layers[model.layers.index(dropout) + 1 :]

    def training(self, images: tf.Tensor, seeds: tf.Tensor, rate: float) -> tf.Tensor:
        """Images and the seeds of their masks of dropout → logits (n, classes).

        Keras's own layer, whose masks depend on the worker and the step, is left out.
        """
        features = self._before(images, training=True)
        return self._of(dropped(features, seeds, rate) if rate else features, training=True)

    def inference(self, images: tf.Tensor) -> tf.Tensor:
        """Images → logits (n, classes)."""
        return self._of(self._before(images, training=False), training=False)

    def _of(self, features: tf.Tensor, *, training: bool) -> tf.Tensor:
        for layer in self._after:
            features = layer(features, training=training)
        features = keras.ops.cast(features, self._head.compute_dtype)
        return keras.ops.matmul(features, self._head.kernel) + self._head.bias


def batch_sums(losses: tf.Tensor, probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """One batch's vector of Sums. losses, labels: (n,); probabilities: (n, classes)."""
    classes = probabilities.shape[1]
    predicted = tf.argmax(probabilities, axis=1, output_type=tf.int32)
    truth = tf.one_hot(labels, classes, on_value=True, off_value=False)
    binary = tf.reduce_mean(tf.cast((probabilities > 0.5) == truth, tf.float64), axis=1)
    sums = [
        tf.reduce_sum(tf.cast(losses, tf.float64)),
        tf.reduce_sum(tf.cast(predicted == labels, tf.float64)),
        tf.reduce_sum(binary),
        tf.cast(tf.size(labels), tf.float64),
    ]
    as_class = tf.one_hot(predicted, classes, on_value=True, off_value=False)
    of_classes = [
        tf.reduce_sum(tf.cast(these, tf.float64), axis=0)
        for these in (truth, as_class, truth & as_class)
    ]
    return tf.concat([tf.stack(sums), *of_classes], 0)


def model_bytes(weights: list[NDArray], job: TrainingJob) -> bytes:
    """model.keras as bytes: a plain float32 network that knows no strategy."""
    image, classes = job.dataset.image, len(job.dataset.taxonomy)
    plain = build_network(job.model, image, classes, dropout=job.config.dropout)
    plain.set_weights(weights)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        plain.save(file)
        return file.read_bytes()
