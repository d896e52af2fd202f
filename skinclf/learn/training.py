"""The training loop: one function for one epoch, state in one place, the chief alone writes.

Keras 3 gives the model, optimizer and losses; its `fit` does not work under
MultiWorkerMirroredStrategy (keras-team/keras#20585), so the loop is ours.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from skinclf import run_folder
from skinclf.config import TrainConfig
from skinclf.dataset_folder import Dataset
from skinclf.errors import TrainingError
from skinclf.labels import CODES
from skinclf.learn.batches import (
    Images,
    own_shards,
    read_shard,
    steps_an_epoch,
    training_batches,
)
from skinclf.learn.cluster import Place, make_strategy
from skinclf.learn.network import build_network
from skinclf.schemas import CHANNELS, HEIGHT, WIDTH

PROGRESS_SECONDS = 1.0

Sums = NDArray[np.float64]
"""Loss, right answers, right binary answers, images; then the confusion matrix, row by row."""

PIXELS = tf.TensorSpec((None, HEIGHT, WIDTH, CHANNELS), tf.uint8)
LABELS = tf.TensorSpec((None,), tf.int32)
SUMS = tf.TensorSpec((4 + len(CODES) ** 2,), tf.float64)
WEIGHTS = tf.TensorSpec((None,), tf.float32)


@dataclass
class Trainer:
    """What training changes and needs: the state that a checkpoint has to hold is in here."""

    model: keras.Sequential
    optimizer: keras.optimizers.Optimizer
    train_step: Callable[[NDArray[np.uint8], NDArray[np.int32]], tf.Tensor]
    test_step: Callable[[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]], tf.Tensor]
    sum_over_workers: Callable[[Sums], tf.Tensor]  # a collective: all workers call it


def train(dataset: Dataset, run: str, config: TrainConfig, place: Place) -> None:
    """Train as one worker of `place` and, as its chief, write the run folder's model.

    All workers call this with the same arguments but `place.index`, and each returns when all
    have finished. Raises TrainingError where the loss is no longer a number.
    """
    trainer = make_trainer(config, place)
    own = own_shards(dataset.shards, place.workers, place.index)
    train_shards = {n: read_shard(dataset, "train", n) for n in own}
    val_shards = [read_shard(dataset, "val", n) for n in own]
    val_steps = _val_steps(dataset, config, place)
    history: list[run_folder.Epoch] = []
    for epoch in range(1, config.epochs + 1):
        started = time.monotonic()
        sums = train_epoch(trainer, train_shards, dataset, run, config, place, epoch)
        seconds = time.monotonic() - started
        val_sums = validate(trainer, val_shards, val_steps, config, place)
        row = {"epoch": epoch} | metrics_of(sums)
        row |= {f"val_{name}": value for name, value in metrics_of(val_sums).items()}
        row |= {"seconds": seconds, "images_per_second": float(sums[3]) / seconds}
        history.append(row)
        if place.is_chief:
            run_folder.write_history(run, history)
    if place.is_chief:
        run_folder.write_model(run, model_bytes(trainer.model, config))


def make_trainer(config: TrainConfig, place: Place) -> Trainer:
    """Meet the other workers and build the network, alike on all of them by `config.seed`."""
    strategy = make_strategy(place)
    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        model = build_network(config.dropout)
        optimizer = keras.optimizers.Adam(config.learning_rate)
        optimizer.build(model.trainable_variables)
    loss = keras.losses.get(config.loss)

    def learn(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            probabilities = model(pixels, training=True)
            losses = loss(tf.one_hot(labels, len(CODES)), probabilities)
            # The sum over the global count: gradients then add up to the global batch's mean.
            objective = tf.reduce_sum(losses) / config.global_batch
        gradients = tape.gradient(objective, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return batch_sums(losses, probabilities, labels, tf.ones_like(losses))

    def test(pixels: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        probabilities = model(pixels, training=False)
        losses = loss(tf.one_hot(labels, len(CODES)), probabilities)
        return batch_sums(losses, probabilities, labels, weights)

    def add_up(local: tf.Tensor) -> tf.Tensor:
        placed = tf.identity(local)  # on this replica's device, where the collective runs
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)

    @tf.function(input_signature=[PIXELS, LABELS])
    def train_step(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return strategy.run(learn, args=(pixels, labels))

    @tf.function(input_signature=[PIXELS, LABELS, WEIGHTS])
    def test_step(pixels: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return strategy.run(test, args=(pixels, labels, weights))

    @tf.function(input_signature=[SUMS])
    def sum_over_workers(local: tf.Tensor) -> tf.Tensor:
        return strategy.run(add_up, args=(local,))

    return Trainer(model, optimizer, train_step, test_step, sum_over_workers)


def train_epoch(
    trainer: Trainer,
    shards: dict[int, Images],
    dataset: Dataset,
    run: str,
    config: TrainConfig,
    place: Place,
    epoch: int,
) -> Sums:
    """Take every step of one epoch and return the sums over all workers."""
    rows = dataset.rows_of("train")
    steps = steps_an_epoch(rows, config.global_batch)
    seed_dropout(trainer.model, config.seed, epoch, place.index)
    batches = training_batches(
        shards,
        seed=config.seed,
        epoch=epoch,
        steps=steps,
        rows_a_shard=config.global_batch // dataset.shards,
    )
    total: Sums = np.zeros(SUMS.shape)
    told = 0.0
    for step, batch in enumerate(batches, start=1):
        total += trainer.train_step(batch.pixels, batch.labels).numpy()
        if not np.isfinite(total[0]):
            raise TrainingError(
                f"epoch {epoch}, step {step}: the loss is no longer a finite number; "
                f"a lower train.learning_rate than {config.learning_rate} may help"
            )
        if place.is_chief and time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            progress = {
                "epoch": epoch,
                "epochs": config.epochs,
                "step": step,
                "steps": steps,
            }
            run_folder.write_progress(run, progress | {"loss": total[0] / total[3]})
    return trainer.sum_over_workers(total).numpy()


def validate(
    trainer: Trainer,
    shards: list[Images],
    steps: int,
    config: TrainConfig,
    place: Place,
) -> Sums:
    """The sums over all validation images of all workers, each counted once.

    Every worker takes `steps` steps: a shorter one fills up with images of weight 0.
    """
    pixels = np.concatenate([shard.pixels for shard in shards])
    labels = np.concatenate([shard.labels for shard in shards])
    size = config.global_batch // place.workers
    total: Sums = np.zeros(SUMS.shape)
    for step in range(steps):
        rows = np.arange(step * size, (step + 1) * size)
        weights = (rows < len(labels)).astype(np.float32)
        rows = np.minimum(rows, len(labels) - 1)
        total += trainer.test_step(pixels[rows], labels[rows], weights).numpy()
    return trainer.sum_over_workers(total).numpy()


def batch_sums(
    losses: tf.Tensor, probabilities: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """One batch's `Sums` as float32. losses, labels, weights: (n,); probabilities: (n, 7)."""
    answers = tf.argmax(probabilities, axis=1, output_type=tf.int32)
    right = tf.cast(answers == labels, tf.float32)
    rounded = tf.cast(probabilities > 0.5, tf.float32)
    binary = tf.reduce_mean(tf.cast(rounded == tf.one_hot(labels, len(CODES)), tf.float32), axis=1)
    sums = [tf.reduce_sum(values * weights) for values in (losses, right, binary)]
    confusion = tf.math.confusion_matrix(labels, answers, len(CODES), weights, tf.float32)
    return tf.concat([tf.stack([*sums, tf.reduce_sum(weights)]), tf.reshape(confusion, [-1])], 0)


def metrics_of(sums: Sums) -> dict[str, float]:
    """`Sums` → loss, accuracy, binary and balanced accuracy (mean recall of classes present)."""
    loss, right, binary, count = sums[:4]
    confusion = sums[4:].reshape(len(CODES), len(CODES))
    present = confusion.sum(axis=1) > 0
    recalls = confusion.diagonal()[present] / confusion.sum(axis=1)[present]
    if count == 0:
        return {}
    return {
        "loss": float(loss / count),
        "accuracy": float(right / count),
        "binary_accuracy": float(binary / count),
        "balanced_accuracy": float(recalls.mean()),
    }


def seed_dropout(model: keras.Sequential, seed: int, epoch: int, worker: int) -> None:
    """Give dropout its own stream of masks for (seed, epoch, worker).

    Workers drop different units, and an epoch's masks are the same after a resume.
    """
    layer = model.get_layer("dropout")
    if layer.rate > 0:  # without dropout Keras makes no generator
        state = np.random.SeedSequence([seed, epoch, worker]).generate_state(1) % 2**31
        layer.seed_generator.state.assign([int(state[0]), 0])


def model_bytes(model: keras.Sequential, config: TrainConfig) -> bytes:
    """model.keras as bytes, from a plain copy that knows no strategy."""
    plain = build_network(config.dropout)
    plain.set_weights([np.asarray(weight) for weight in model.get_weights()])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        plain.save(file)
        return file.read_bytes()


def _val_steps(dataset: Dataset, config: TrainConfig, place: Place) -> int:
    """Enough steps for the worker with the most validation images."""
    rows = dataset.rows_of("val")
    most = max(
        sum(rows[n] for n in own_shards(dataset.shards, place.workers, index))
        for index in range(place.workers)
    )
    return -(-most // (config.global_batch // place.workers))
