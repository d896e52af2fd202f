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
    concatenated,
    own_shards,
    read_shard,
    steps_an_epoch,
    training_batches,
)
from skinclf.learn.checkpoints import read_checkpoint, restore, take_checkpoint
from skinclf.learn.cluster import Place, make_strategy
from skinclf.learn.network import build_network
from skinclf.schemas import CHANNELS, HEIGHT, WIDTH
from skinclf.storage import read_bytes

PROGRESS_SECONDS = 1.0

Sums = NDArray[np.float64]
"""Loss, right answers, right binary answers, images; then the confusion matrix, row by row."""

PIXELS = tf.TensorSpec((None, HEIGHT, WIDTH, CHANNELS), tf.uint8)
LABELS = tf.TensorSpec((None,), tf.int32)
SUMS = tf.TensorSpec((4 + len(CODES) ** 2,), tf.float64)


@dataclass(frozen=True)
class Job:
    """What to train on, where to write, how, and as which worker."""

    dataset: Dataset
    run: str
    config: TrainConfig
    place: Place

    @property
    def own_shards(self) -> list[int]:
        """The shards that this worker reads."""
        return own_shards(self.dataset.shards, self.place.workers, self.place.index)


@dataclass
class Trainer:
    """What training changes and needs: the state that a checkpoint has to hold is in here."""

    model: keras.Sequential
    optimizer: keras.optimizers.Optimizer
    train_step: Callable[[NDArray[np.uint8], NDArray[np.int32]], tf.Tensor]
    test_step: Callable[[NDArray[np.uint8], NDArray[np.int32]], tf.Tensor]
    sum_over_workers: Callable[[Sums], tf.Tensor]  # a collective: all workers call it


def train(job: Job, resume: int) -> None:
    """Train as one worker and, as the chief, write the run folder's checkpoints and model.

    All workers call this alike but for `job.place.index`, and each returns when all have
    finished. `resume` is the epoch whose checkpoint to go on from, 0 for none. Raises
    TrainingError where the loss is no longer a number, DatasetError for a damaged shard.
    """
    train_shards = {n: read_shard(job.dataset, "train", n) for n in job.own_shards}
    val_images = concatenated(read_shard(job.dataset, "val", n) for n in job.own_shards)
    trainer = make_trainer(job.config, job.place)
    history: list[run_folder.Epoch] = []
    if resume:
        checkpoint = read_checkpoint(read_bytes(run_folder.checkpoint_path(job.run, resume)))
        restore(checkpoint, trainer.model, trainer.optimizer)
        history = checkpoint.history
        if job.place.is_chief:
            run_folder.write_history(job.run, history)  # it may be a line behind the checkpoint
    for epoch in range(len(history) + 1, job.config.epochs + 1):
        started = time.monotonic()
        sums = train_epoch(trainer, train_shards, job, epoch)
        seconds = time.monotonic() - started
        row = {"epoch": epoch} | metrics_of(sums)
        val_metrics = metrics_of(validate(trainer, val_images, job))
        row |= {f"val_{name}": value for name, value in val_metrics.items()}
        row |= {"seconds": seconds, "images_per_second": float(sums[3]) / seconds}
        history.append(row)
        if job.place.is_chief:
            content = take_checkpoint(history, trainer.model, trainer.optimizer)
            run_folder.write_checkpoint(job.run, content, history, job.config)
            run_folder.write_history(job.run, history)
    if job.place.is_chief:
        run_folder.write_model(job.run, model_bytes(trainer.model, job.config))


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
        return batch_sums(losses, probabilities, labels)

    def test(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        probabilities = model(pixels, training=False)
        losses = loss(tf.one_hot(labels, len(CODES)), probabilities)
        return batch_sums(losses, probabilities, labels)

    def add_up(local: tf.Tensor) -> tf.Tensor:
        placed = tf.identity(local)  # on this replica's device, where the collective runs
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)

    @tf.function(input_signature=[PIXELS, LABELS])
    def train_step(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return strategy.run(learn, args=(pixels, labels))

    @tf.function(input_signature=[PIXELS, LABELS])
    def test_step(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return strategy.run(test, args=(pixels, labels))

    @tf.function(input_signature=[SUMS])
    def sum_over_workers(local: tf.Tensor) -> tf.Tensor:
        return strategy.run(add_up, args=(local,))

    return Trainer(model, optimizer, train_step, test_step, sum_over_workers)


def train_epoch(trainer: Trainer, shards: dict[int, Images], job: Job, epoch: int) -> Sums:
    """Take every step of one epoch and return the sums over all workers."""
    config = job.config
    steps = steps_an_epoch(job.dataset.rows_of("train"), config.global_batch)
    seed_dropout(trainer.model, config.seed, epoch, job.place.index)
    batches = training_batches(
        shards,
        seed=config.seed,
        epoch=epoch,
        steps=steps,
        rows_a_shard=config.global_batch // job.dataset.shards,
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
        if job.place.is_chief and time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            progress = {"epoch": epoch, "epochs": config.epochs, "step": step, "steps": steps}
            run_folder.write_progress(job.run, progress | {"loss": total[0] / total[3]})
    return trainer.sum_over_workers(total).numpy()


def validate(trainer: Trainer, images: Images, job: Job) -> Sums:
    """The sums over all validation images of all workers, each counted once.

    Only the sum at the end is a collective, so workers may have different numbers of images.
    """
    size = job.config.global_batch // job.place.workers
    total: Sums = np.zeros(SUMS.shape)
    for start in range(0, len(images), size):
        rows = slice(start, start + size)
        total += trainer.test_step(images.pixels[rows], images.labels[rows]).numpy()
    return trainer.sum_over_workers(total).numpy()


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
