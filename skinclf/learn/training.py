"""The training loop: one function for one epoch, state in one place, the chief alone writes.

Keras 3 gives the model, optimizer and losses; its `fit` does not work under
MultiWorkerMirroredStrategy (keras-team/keras#20585), so the loop is ours.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from skinclf import run_folder
from skinclf.config import TrainConfig
from skinclf.dataset_folder import Dataset
from skinclf.errors import TrainingError
from skinclf.history import Epoch, final_epoch, is_over
from skinclf.labels import CODES
from skinclf.learn.augment import augmented
from skinclf.learn.batches import (
    DRAWS,
    Order,
    own_shards,
    plain_batches,
    steps_an_epoch,
    training_batches,
)
from skinclf.learn.checkpoints import Position, read_checkpoint, restore, take_checkpoint
from skinclf.learn.cluster import Place, make_strategy
from skinclf.learn.network import build_network
from skinclf.learn.shards import ShardReader
from skinclf.learn.tensorboard import event_files
from skinclf.schemas import CHANNELS, HEIGHT, WIDTH
from skinclf.storage import join, read_bytes

Sums = NDArray[np.float64]
"""Loss, right answers, right binary answers, images; then the confusion matrix, row by row."""

PIXELS = tf.TensorSpec((None, HEIGHT, WIDTH, CHANNELS), tf.uint8)
LABELS = tf.TensorSpec((None,), tf.int32)
RANDOM = tf.TensorSpec((None, DRAWS), tf.float32)
SUMS = tf.TensorSpec((4 + len(CODES) ** 2,), tf.float64)


def _silent(_doing: str, **_state: Any) -> None:
    pass


@dataclass(frozen=True)
class Job:
    """What to train on, where to write, how, and as which worker."""

    dataset: Dataset
    run: str
    config: TrainConfig
    place: Place
    attempt: str = ""
    tell: Callable[..., None] = field(default=_silent, repr=False)  # Heartbeat.tell

    def reader(self, split: str, memory_bytes: int) -> ShardReader:
        """The images of this worker's shards."""
        shards = own_shards(self.dataset.shards, self.place.workers, self.place.index)
        return ShardReader(self.dataset, split, shards, memory_bytes=memory_bytes)


@dataclass
class Trainer:
    """What training changes and needs: the state that a checkpoint has to hold is in here."""

    model: keras.Sequential
    optimizer: keras.optimizers.Optimizer
    # Both steps: a worker's pixels, labels → sums; those of training are of all workers.
    train_step: Callable[[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]], tf.Tensor]
    test_step: Callable[[NDArray[np.uint8], NDArray[np.int32]], tf.Tensor]
    sum_over_workers: Callable[[Sums], tf.Tensor]  # a collective: all workers call it


def train(job: Job, resume: str) -> None:
    """Train as one worker and, as the chief, write the run folder's checkpoints and model.

    All workers call this alike but for `job.place.index`, and each returns when all have
    finished. `resume` is the name of the checkpoint to go on from, "" for none. Raises
    TrainingError where the loss is no longer a number, DatasetError for a damaged shard.
    """
    memory = job.config.memory_mb * 2**20
    train_reader, val_reader = job.reader("train", memory * 8 // 10), job.reader("val", memory // 5)
    job.tell("waiting for the other workers")
    trainer = make_trainer(job.config, job.place, job.dataset)
    position = go_on(trainer, job, resume) if resume else start_of_epoch([])
    while not is_over(position.history, job.config):
        train_epoch(trainer, train_reader, job, position)
        job.tell("validating")
        row = epoch_row(position, trainer, validate(trainer, val_reader, job))
        position = start_of_epoch([*position.history, row])
        if job.place.is_chief:
            save(trainer, job, position)
            run_folder.write_history(job.run, position.history)
            run_folder.write_tensorboard(job.run, len(position.history), event_files(row))
    if job.place.is_chief:
        job.tell("writing the model")
        finish(trainer, job, position.history)


def start_of_epoch(history: list[Epoch]) -> Position:
    """The position after whole epochs."""
    return Position(history, step=0, sums=[0.0] * SUMS.shape[0], seconds=0.0)


def go_on(trainer: Trainer, job: Job, name: str) -> Position:
    """Put a checkpoint's state into the trainer and return its position.

    What the run folder tells of the epochs may be a line behind the checkpoint: it is mended.
    """
    checkpoint = read_checkpoint(read_bytes(join(job.run, run_folder.CHECKPOINTS, name)))
    restore(checkpoint, trainer.model, trainer.optimizer)
    history = checkpoint.position.history
    if job.place.is_chief:
        run_folder.check_attempt(job.run, job.attempt)
        run_folder.write_history(job.run, history)
        if history:
            run_folder.write_tensorboard(job.run, len(history), event_files(history[-1]))
    return checkpoint.position


def save(trainer: Trainer, job: Job, position: Position) -> None:
    """Write a checkpoint of the position; the chief's alone."""
    job.tell("writing a checkpoint")
    content = take_checkpoint(position, trainer.model, trainer.optimizer)
    run_folder.check_attempt(job.run, job.attempt)
    run_folder.write_checkpoint(job.run, content, position.history, position.step, job.config)


def finish(trainer: Trainer, job: Job, history: list[Epoch]) -> None:
    """Write the model with the last or the best epoch's weights; the chief's alone."""
    epoch = final_epoch(history, job.config)
    weights = [np.asarray(weight) for weight in trainer.model.get_weights()]
    if epoch != len(history):
        name = run_folder.checkpoint_name(epoch)
        weights = read_checkpoint(read_bytes(join(job.run, run_folder.CHECKPOINTS, name))).model
    run_folder.check_attempt(job.run, job.attempt)
    run_folder.write_model(job.run, model_bytes(weights, job.config.dropout))


def make_trainer(config: TrainConfig, place: Place, dataset: Dataset) -> Trainer:
    """Meet the other workers and build the network, alike on all of them by `config.seed`."""
    strategy = make_strategy(place)
    keras.utils.set_random_seed(config.seed)
    steps = steps_an_epoch(dataset.rows_of("train"), config.global_batch)
    with strategy.scope():
        model = build_network(config.dropout, config.precision)
        optimizer = make_optimizer(config, steps)
        optimizer.build(model.trainable_variables)
    loss = keras.losses.get(config.loss)
    weights = tf.constant(class_weights(config, dataset.counts["train"]))

    def forward(pixels: tf.Tensor, labels: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, ...]:
        probabilities = model(pixels, training=training)
        return probabilities, loss(
            tf.one_hot(labels, len(CODES), dtype=probabilities.dtype), probabilities
        )

    def learn(pixels: tf.Tensor, labels: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        images = augmented(pixels, draws, config.augment) if config.augment.any else pixels
        with tf.GradientTape() as tape:
            probabilities, losses = forward(images, labels, training=True)
            weighted = losses * tf.cast(tf.gather(weights, labels), losses.dtype)
            # The sum over the global count: gradients then add up to the global batch's mean.
            objective = tf.reduce_sum(weighted) / config.global_batch
        gradients = tape.gradient(objective, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return add_up(batch_sums(losses, probabilities, labels))

    def test(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        probabilities, losses = forward(pixels, labels, training=False)
        return batch_sums(losses, probabilities, labels)

    def add_up(local: tf.Tensor) -> tf.Tensor:
        placed = tf.identity(local)  # on this replica's device, where the collective runs
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)

    @tf.function(input_signature=[PIXELS, LABELS, RANDOM])
    def train_step(pixels: tf.Tensor, labels: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        return strategy.run(learn, args=(pixels, labels, draws))

    @tf.function(input_signature=[PIXELS, LABELS])
    def test_step(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return strategy.run(test, args=(pixels, labels))

    @tf.function(input_signature=[SUMS])
    def sum_over_workers(local: tf.Tensor) -> tf.Tensor:
        return strategy.run(add_up, args=(local,))

    return Trainer(model, optimizer, train_step, test_step, sum_over_workers)


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
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def class_weights(config: TrainConfig, counts: dict[str, int]) -> NDArray[np.float32]:
    """(7,) how much an image of each class counts; the mean over all images is 1."""
    images = np.array([counts.get(code, 0) for code in CODES], np.float32)
    if config.class_weighting == "none":
        return np.ones_like(images)
    return images.sum() / (np.count_nonzero(images) * np.maximum(images, 1))


def train_epoch(trainer: Trainer, reader: ShardReader, job: Job, position: Position) -> None:
    """Take every step that the epoch still has, moving `position` along."""
    config, epoch = job.config, len(position.history) + 1
    steps = steps_an_epoch(job.dataset.rows_of("train"), config.global_batch)
    batches = training_batches(
        reader,
        Order(config.seed, epoch, config.shuffle_window),
        rows_a_shard=config.global_batch // job.dataset.shards,
        steps=range(position.step, steps),
    )
    sums, before = np.array(position.sums), position.seconds
    seed_dropout(trainer.model, config.seed, epoch, position.step, job.place.index)
    started = saved = time.monotonic()
    for step, batch in enumerate(batches, start=position.step + 1):
        sums += trainer.train_step(batch.pixels, batch.labels, batch.draws).numpy()
        if not np.isfinite(sums[0]):
            raise TrainingError(
                f"epoch {epoch}, step {step}: the loss is no longer a finite number; "
                f"a lower train.learning_rate than {config.learning_rate} may help"
            )
        now = time.monotonic()
        position.step, position.sums = step, sums.tolist()
        position.seconds = before + now - started
        rate = sums[3] / position.seconds
        job.tell(
            "training",
            epoch=epoch,
            step=step,
            steps=steps,
            loss=sums[0] / sums[3],
            images_per_second=rate,
        )
        due = config.checkpoint_minutes and now - saved > 60 * config.checkpoint_minutes
        if due and job.place.is_chief and step < steps:
            saved = now
            save(trainer, job, position)


def epoch_row(position: Position, trainer: Trainer, val_sums: Sums) -> Epoch:
    """The line of history of an epoch whose steps have all been taken."""
    sums = np.array(position.sums)
    return {
        "epoch": len(position.history) + 1,
        **metrics_of(sums),
        **{f"val_{name}": value for name, value in metrics_of(val_sums).items()},
        "learning_rate": float(trainer.optimizer.learning_rate.numpy()),
        "seconds": position.seconds,
        "images_per_second": float(sums[3]) / position.seconds,
    }


def validate(trainer: Trainer, reader: ShardReader, job: Job) -> Sums:
    """The sums over all validation images of all workers, each counted once.

    Only the sum at the end is a collective, so workers may have different numbers of images.
    """
    total: Sums = np.zeros(SUMS.shape)
    for images in plain_batches(reader, job.config.global_batch):
        total += trainer.test_step(images.pixels, images.labels).numpy()
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


def seed_dropout(model: keras.Sequential, seed: int, epoch: int, step: int, worker: int) -> None:
    """Give dropout its stream of masks for (seed, epoch, worker), where `step` steps are taken.

    Workers drop different units, and a step's masks are the same after a resume: Keras counts
    the masks drawn in the second half of the generator's state.
    """
    layer = model.get_layer("dropout")
    if layer.rate > 0:  # without dropout Keras makes no generator
        state = np.random.SeedSequence([seed, epoch, worker]).generate_state(1) % 2**31
        layer.seed_generator.state.assign([int(state[0]), step])


def model_bytes(weights: list[NDArray], dropout: float) -> bytes:
    """model.keras as bytes: a plain float32 network that knows no strategy."""
    plain = build_network(dropout)
    plain.set_weights(weights)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        plain.save(file)
        return file.read_bytes()
