"""The training loop: one function for one epoch, state in one place, the chief alone writes.

Keras 3 gives the model, optimizer and losses; its `fit` does not work under
MultiWorkerMirroredStrategy (keras-team/keras#20585), so the loop is ours.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.errors import DamagedCheckpoint, RunError, TrainingError
from skinclf.storage import run_folder
from skinclf.storage.attempt import check_attempt
from skinclf.storage.checkpoint_folder import CheckpointFolder, checkpoint_bytes
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.history import Epoch, final_epoch, is_over
from skinclf.training.batches import (
    Order,
    own_shards,
    plain_batches,
    steps_an_epoch,
    training_batches,
)
from skinclf.training.checkpoints import Position, read_checkpoint, restore, take_checkpoint
from skinclf.training.shards import ShardReader
from skinclf.training.strategy import Place
from skinclf.training.tensorboard import event_files
from skinclf.training.trainer import (
    SUMS,
    Sums,
    Trainer,
    make_trainer,
    metrics_of,
    model_bytes,
    predicted_shares,
)


def _silent(_doing: str, **_state: Any) -> None:
    pass


@dataclass(frozen=True)
class Job:
    """What to train on, where to write, how, and as which worker."""

    dataset: Dataset
    run: str
    model: ModelConfig
    config: TrainConfig
    place: Place
    attempt: str = ""
    tell: Callable[..., None] = field(default=_silent, repr=False)  # Heartbeat.tell

    def reader(self, split: str, memory_bytes: int) -> ShardReader:
        """The images of this worker's shards."""
        shards = own_shards(self.dataset.shards, self.place.workers, self.place.index)
        return ShardReader(self.dataset, split, shards, memory_bytes=memory_bytes)


def train(job: Job, resume: str) -> None:
    """Train as one worker and, as the chief, write the run folder's checkpoints and model.

    All workers call this alike but for `job.place.index`, and each returns when all have
    finished. `resume` is the name of the checkpoint to go on from, "" for none. Raises
    TrainingError where the loss is no longer a number, DatasetError for a damaged shard.
    """
    memory = job.config.memory_mb * 2**20
    train_reader, val_reader = job.reader("train", memory * 8 // 10), job.reader("val", memory // 5)
    job.tell("waiting for the other workers")
    trainer = make_trainer(job.model, job.config, job.place, job.dataset)
    position = go_on(trainer, job, resume) if resume else start_of_epoch([])
    checkpoints = CheckpointFolder(job.run, job.attempt) if job.place.is_chief else None
    while not is_over(position.history, job.config):
        train_epoch(trainer, train_reader, job, position, checkpoints)
        row = epoch_row(position, trainer, validate(trainer, val_reader, job))
        position = start_of_epoch([*position.history, row])
        if checkpoints:
            save(trainer, job, checkpoints, position)
            write_curves(job, position.history)
    if checkpoints:
        job.tell("writing the model")
        finish(trainer, job, checkpoints, position.history)


def start_of_epoch(history: list[Epoch]) -> Position:
    """The position after whole epochs."""
    return Position(history, step=0, sums=[0.0] * SUMS.shape[0], seconds=0.0)


def go_on(trainer: Trainer, job: Job, name: str) -> Position:
    """Put a checkpoint's state into the trainer and return its position.

    What the run folder tells of the epochs may be a line behind the checkpoint: it is mended.
    """
    checkpoint = read_checkpoint(checkpoint_bytes(job.run, name))
    restore(checkpoint, trainer.model, trainer.optimizer)
    if job.place.is_chief:
        write_curves(job, checkpoint.position.history)
    return checkpoint.position


def write_curves(job: Job, history: list[Epoch]) -> None:
    """Write history.jsonl and the last epoch for TensorBoard; the chief's alone."""
    check_attempt(job.run, job.attempt)
    run_folder.write_history(job.run, history)
    if history:
        run_folder.write_tensorboard(job.run, len(history), event_files(history[-1]))


def save(trainer: Trainer, job: Job, checkpoints: CheckpointFolder, position: Position) -> None:
    """Write a checkpoint of the position; the chief's alone. Raises TrainingError where weights
    are no numbers: an epoch's last update is followed by no loss that would tell.
    """
    job.tell("writing a checkpoint")
    if not all(np.isfinite(weight).all() for weight in trainer.model.get_weights()):
        raise diverged(job.config, len(position.history), position.step, "a weight is")
    content = take_checkpoint(position, trainer.model, trainer.optimizer)
    checkpoints.write(content, position.history, position.step, job.config)


def diverged(config: TrainConfig, epoch: int, step: int, what: str) -> TrainingError:
    """The error of a training whose numbers have left the range of floats."""
    return TrainingError(
        f"epoch {epoch}, step {step}: {what} no longer a finite number; "
        f"a lower train.learning_rate than {config.learning_rate} may help"
    )


def finish(trainer: Trainer, job: Job, checkpoints: CheckpointFolder, history: list[Epoch]) -> None:
    """Write the model with the last or the best epoch's weights; the chief's alone."""
    epoch = final_epoch(history, job.config)
    weights = [np.asarray(weight) for weight in trainer.model.get_weights()]
    if epoch != len(history):
        weights = epoch_weights(job.run, checkpoints, epoch)
    check_attempt(job.run, job.attempt)
    run_folder.write_model(job.run, model_bytes(weights, job.model, job.config.dropout))


def epoch_weights(run: str, checkpoints: CheckpointFolder, epoch: int) -> list[np.ndarray]:
    """The weights after an epoch. Raises RunError where no checkpoint of it is whole."""
    for name in checkpoints.of_epoch(epoch):
        with suppress(DamagedCheckpoint):
            return read_checkpoint(checkpoint_bytes(run, name)).model
    raise RunError(f"{run}: no whole checkpoint of epoch {epoch} is left, the best by validation")


def train_epoch(
    trainer: Trainer,
    reader: ShardReader,
    job: Job,
    position: Position,
    checkpoints: CheckpointFolder | None = None,
) -> None:
    """Take every step that the epoch still has, moving `position` along.

    With `checkpoints`, which the chief alone has, some are written on the way.
    """
    config, epoch = job.config, len(position.history) + 1
    steps = steps_an_epoch(job.dataset.rows_of("train"), config.global_batch)
    batches = training_batches(
        reader,
        Order(config.seed, epoch, config.shuffle_window),
        rows_a_shard=config.global_batch // job.dataset.shards,
        steps=range(position.step, steps),
    )
    sums, before = np.array(position.sums), position.seconds
    started = saved = time.monotonic()
    for step, batch in enumerate(batches, start=position.step + 1):
        sums += trainer.train_step(batch).numpy()
        if not np.isfinite(sums[0]):
            raise diverged(config, epoch, step, "the loss is")
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
        if due and checkpoints and step < steps:
            saved = now
            save(trainer, job, checkpoints, position)


def epoch_row(position: Position, trainer: Trainer, val_sums: Sums) -> Epoch:
    """The line of history of an epoch whose steps have all been taken."""
    sums = np.array(position.sums)
    validation = metrics_of(val_sums) | predicted_shares(val_sums)
    return {
        "epoch": len(position.history) + 1,
        **metrics_of(sums),
        **{f"val_{name}": value for name, value in validation.items()},
        "learning_rate": float(trainer.optimizer.learning_rate.numpy()),
        "seconds": position.seconds,
        "images_per_second": float(sums[3]) / position.seconds,
    }


def validate(trainer: Trainer, reader: ShardReader, job: Job) -> Sums:
    """The sums over all validation images of all workers, each counted once.

    Only the sum at the end is a collective, so workers may have different numbers of images.
    """
    total: Sums = np.zeros(SUMS.shape)
    job.tell("validating")
    for step, images in enumerate(plain_batches(reader, job.config.global_batch), start=1):
        job.tell("validating", validation_step=step)
        total += trainer.test_step(images).numpy()
    return trainer.sum_over_workers(total).numpy()
