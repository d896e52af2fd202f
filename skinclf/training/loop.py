"""The training loop: one function for one epoch, state in one place, the chief alone writes.

Keras 3 gives the model, optimizer and losses; its `fit` does not work under
MultiWorkerMirroredStrategy (keras-team/keras#20585), so the loop is ours.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, Unpack

import numpy as np

from skinclf.config.schema import TrainConfig
from skinclf.errors import DamagedCheckpoint, RunError, TrainingError
from skinclf.storage.attempt import State, check_attempt
from skinclf.storage.checkpoint_folder import CheckpointFolder, checkpoint_bytes
from skinclf.storage.history import Epoch, final_epoch, is_over
from skinclf.storage.run_folder import Labels
from skinclf.training.batches import (
    Order,
    own_shards,
    plain_batches,
    steps_an_epoch,
    training_batches,
)
from skinclf.training.checkpoints import Position, read_checkpoint, restore, take_checkpoint
from skinclf.training.frozen_graph import freeze
from skinclf.training.job import TrainingJob, WorkerContext
from skinclf.training.shards import ShardReader, cache_bytes
from skinclf.training.sums import Sums, no_sums
from skinclf.training.tensorboard import event_files
from skinclf.training.trainer import Trainer, make_trainer, model_bytes


class Report(Protocol):
    """Called with what the worker does now, and how far it has come."""

    def __call__(self, doing: str, /, **state: Unpack[State]) -> None:
        """Note it; costs no time."""


@dataclass(frozen=True)
class Worker:
    """One worker of a training."""

    job: TrainingJob
    context: WorkerContext
    report: Report

    def reader(self, split: str) -> ShardReader:
        """The images of this worker's shards."""
        dataset, room = self.job.dataset, cache_bytes(self.job.config)
        shards = own_shards(dataset.shards, self.context.world_size, self.context.rank)
        return ShardReader(dataset, split, shards, memory_bytes=room[split])


def train(job: TrainingJob, context: WorkerContext, report: Report) -> None:
    """Train as one worker and, as the chief, write the run folder's checkpoints and model.

    All workers call this alike but for `context.rank`, and each returns when all have finished.
    Raises TrainingError where the loss is no longer a number, DatasetError for a damaged shard.
    """
    worker = Worker(job, context, report)
    train_reader, val_reader = worker.reader("train"), worker.reader("val")
    report("waiting for the other workers")
    trainer = make_trainer(job, context)
    position = resumed(trainer, worker) if job.resume else start_of_epoch(job, [])
    checkpoints = CheckpointFolder(job.run.path, job.attempt) if context.is_chief else None
    while not is_over(position.history, job.config):
        train_epoch(trainer, train_reader, worker, position, checkpoints)
        row = epoch_row(position, trainer, validate(trainer, val_reader, worker), job)
        position = start_of_epoch(job, [*position.history, row])
        if checkpoints:
            save(trainer, worker, checkpoints, position)
            write_curves(job, position.history)
    if checkpoints:
        report("writing the model")
        finish(trainer, job, checkpoints, position.history)


def start_of_epoch(job: TrainingJob, history: list[Epoch]) -> Position:
    """The position after whole epochs."""
    nothing = no_sums(len(job.dataset.taxonomy)).vector.tolist()
    return Position(history, step=0, sums=nothing, seconds=0.0)


def resumed(trainer: Trainer, worker: Worker) -> Position:
    """Put the state of the job's checkpoint into the trainer and return its position.

    history.jsonl may be a line behind the checkpoint: it is mended.
    """
    job = worker.job
    checkpoint = read_checkpoint(checkpoint_bytes(job.run.path, job.resume))
    restore(checkpoint, trainer.model, trainer.optimizer)
    if worker.context.is_chief:
        write_curves(job, checkpoint.position.history)
    return checkpoint.position


def write_curves(job: TrainingJob, history: list[Epoch]) -> None:
    """Write history.jsonl and the last epoch for TensorBoard; the chief's alone."""
    check_attempt(job.run.path, job.attempt)
    job.run.write_history(history)
    if history:
        job.run.write_tensorboard(len(history), event_files(history[-1]))


def save(
    trainer: Trainer, worker: Worker, checkpoints: CheckpointFolder, position: Position
) -> None:
    """Write a checkpoint of the position; the chief's alone. Raises TrainingError where weights
    are not finite: no loss follows an epoch's last update.
    """
    worker.report("writing a checkpoint")
    config = worker.job.config
    if not all(np.isfinite(weight).all() for weight in trainer.model.get_weights()):
        raise diverged(config, len(position.history), position.step, "a weight is")
    content = take_checkpoint(position, trainer.model, trainer.optimizer)
    checkpoints.write(content, position.history, position.step, config)


def diverged(config: TrainConfig, epoch: int, step: int, what: str) -> TrainingError:
    """The error of a training whose numbers have left the range of floats."""
    return TrainingError(
        f"epoch {epoch}, step {step}: {what} no longer a finite number; "
        f"a lower train.learning_rate than {config.learning_rate} may help, in another folder "
        f"(--run NAME)"
    )


def finish(
    trainer: Trainer, job: TrainingJob, checkpoints: CheckpointFolder, history: list[Epoch]
) -> None:
    """Write the model with the last or the best epoch's weights; the chief's alone."""
    epoch = final_epoch(history, job.config)
    weights = [np.asarray(weight) for weight in trainer.model.get_weights()]
    if epoch != len(history):
        weights = epoch_weights(job.run.path, checkpoints, epoch)
    check_attempt(job.run.path, job.attempt)
    labels = Labels(job.dataset.taxonomy, job.dataset.image)
    parameters = sum(weight.size for weight in weights)
    model = model_bytes(weights, job)
    job.run.write_graph(freeze(model, labels.image, job.run.path))
    job.run.write_model(model, labels, parameters)


def epoch_weights(run: str, checkpoints: CheckpointFolder, epoch: int) -> list[np.ndarray]:
    """The weights after an epoch. Raises RunError where no checkpoint of it is whole."""
    for name in checkpoints.of_epoch(epoch):
        with suppress(DamagedCheckpoint):
            return read_checkpoint(checkpoint_bytes(run, name)).model
    raise RunError(
        f"{run}: no whole checkpoint of epoch {epoch} is left, the best by validation. Delete the "
        f'folder to train anew, or train in another one with train.final_weights = "last"'
    )


def train_epoch(
    trainer: Trainer,
    reader: ShardReader,
    worker: Worker,
    position: Position,
    checkpoints: CheckpointFolder | None = None,
) -> None:
    """Take every step that the epoch still has, moving `position` along.

    With `checkpoints`, which the chief alone has, some are written on the way.
    """
    job, config = worker.job, worker.job.config
    epoch = len(position.history) + 1
    steps = steps_an_epoch(job.dataset.rows_of("train"), config.global_batch_size)
    batches = training_batches(
        reader,
        Order(config.seed, epoch, config.shuffle_window),
        rows_a_shard=config.global_batch_size // job.dataset.shards,
        steps=range(position.step, steps),
    )
    sums, before = Sums(np.array(position.sums)), position.seconds
    started = saved = time.monotonic()
    for step, batch in enumerate(batches, start=position.step + 1):
        sums = Sums(sums.vector + trainer.train_step(batch).numpy())
        if not np.isfinite(sums.loss):
            raise diverged(config, epoch, step, "the loss is")
        now = time.monotonic()
        position.step, position.sums = step, sums.vector.tolist()
        position.seconds = before + now - started
        worker.report(
            "training",
            epoch=epoch,
            step=step,
            steps=steps,
            loss=sums.loss / sums.images,
            images_per_second=sums.images / position.seconds,
        )
        due = config.checkpoint_minutes and now - saved > 60 * config.checkpoint_minutes
        if due and checkpoints and step < steps:
            saved = now
            save(trainer, worker, checkpoints, position)


def epoch_row(position: Position, trainer: Trainer, val_sums: Sums, job: TrainingJob) -> Epoch:
    """The line of history of an epoch whose steps have all been taken."""
    sums = Sums(np.array(position.sums))
    validation = val_sums.metrics() | val_sums.predicted_shares(job.dataset.taxonomy)
    return {
        "epoch": len(position.history) + 1,
        **sums.metrics(),
        **{f"val_{name}": value for name, value in validation.items()},
        "learning_rate": float(trainer.optimizer.learning_rate.numpy()),
        "seconds": position.seconds,
        "images_per_second": sums.images / position.seconds,
    }


def validate(trainer: Trainer, reader: ShardReader, worker: Worker) -> Sums:
    """The sums over all validation images of all workers, each counted once.

    Only the sum at the end is a collective, so workers may have different numbers of images.
    """
    total = no_sums(len(worker.job.dataset.taxonomy))
    worker.report("validating")
    config = worker.job.config
    # What fits into a worker's memory in a step of training does so here, too.
    batches = plain_batches(reader, max(config.global_batch_size // config.slots, 1))
    for step, images in enumerate(batches, start=1):
        worker.report("validating", validation_step=step)
        total = Sums(total.vector + trainer.test_step(images).numpy())
    return Sums(trainer.sum_over_workers(total).numpy())
