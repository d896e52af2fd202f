"""Dataset → run folder with a trained model."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from skinclf import run_folder
from skinclf.config import Config
from skinclf.dataset_folder import Dataset
from skinclf.errors import TrainingError
from skinclf.figures import history_figure
from skinclf.launch import REQUIRED_CONF, train_until_done
from skinclf.learn.batches import check_divides, steps_an_epoch
from skinclf.report import png
from skinclf.run_folder import Epoch
from skinclf.storage import absolute, join, write_bytes
from skinclf.tables.session import spark_session

POLL_SECONDS = 0.5

log = logging.getLogger(__name__)


def train(config: Config, console: Console) -> list[Epoch]:
    """Train the network on the dataset of `config` and return the history of its epochs.

    An unfinished run goes on from its last checkpoint; a finished one is left as it is.
    Whatever can be wrong with the settings is refused before Spark starts: DatasetError,
    RunError, ConfigError. Raises TrainingError where training ends without a model.
    """
    dataset = Dataset.read(config.dataset.path)
    check_divides(dataset.shards, config.train.slots, config.train.global_batch)
    steps = steps_an_epoch(dataset.rows_of("train"), config.train.global_batch)
    run = absolute(config.run.path)
    if run_folder.open_run(run, config, dataset):
        log.info("%s is finished: it has %s. For another: --set run.path=…", run, run_folder.MODEL)
        return run_folder.read_history(run)
    log.info(
        "training on %s images: %s epochs of %s steps, global batch %s, %s",
        f"{sum(dataset.rows_of('train')):,}",
        config.train.epochs,
        steps,
        config.train.global_batch,
        "in the driver" if config.train.local_mode else f"{config.train.slots} slots",
    )
    with (
        spark_session("train", config.spark, REQUIRED_CONF) as spark,
        training_progress(run, config.train.epochs, console),
    ):
        train_until_done(spark, dataset, run, config.train, config.supervise)
    history = run_folder.read_history(run)
    if len(history) != config.train.epochs:
        raise TrainingError(
            f"{run}: {len(history)} epochs in the history, {config.train.epochs} expected. "
            f"Is this folder on storage that driver and executors share?"
        )
    for metric in ("accuracy", "loss"):
        figure = history_figure(history, metric, f"{metric.capitalize()} by epoch")
        write_bytes(join(run, run_folder.FIGURES, f"{metric}.png"), png(figure))
    log.info("wrote the model of %s epochs to %s", len(history), join(run, run_folder.MODEL))
    return history


@contextmanager
def training_progress(run: str, epochs: int, console: Console) -> Iterator[None]:
    """Tell of the training inside, wherever it happens, from what the run folder says.

    Prints a line an epoch and, in a terminal, shows a bar of the steps.
    """
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(run, epochs, console, done), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def epoch_line(row: Epoch, epochs: int) -> str:
    """One finished epoch for the terminal."""
    line = (
        f"epoch {row['epoch']:>3.0f}/{epochs}  loss {row['loss']:.4f}  "
        f"accuracy {row['accuracy']:.3f}"
    )
    if "val_loss" in row:
        line += (
            f"  val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.3f}"
            f"  val_balanced {row['val_balanced_accuracy']:.3f}"
        )
    return f"{line}  {row['images_per_second']:.0f} images/s"


def _watch(run: str, epochs: int, console: Console, done: threading.Event) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    told = len(run_folder.read_history(run))  # of earlier attempts, told when they ran
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("starting workers", total=None, note="")
        finished = False
        while not finished:
            finished = done.wait(POLL_SECONDS)
            history = run_folder.read_history(run)
            for row in history[told:]:
                console.print(epoch_line(row, epochs), highlight=False)
            told = len(history)
            now = run_folder.read_progress(run)
            if now and told < epochs:
                steps = (now["epoch"] - 1) * now["steps"] + now["step"]
                note = f"step {now['step']:.0f}/{now['steps']:.0f}  loss {now['loss']:.4f}"
                what = f"epoch {now['epoch']:.0f}/{epochs}"
                total = epochs * now["steps"]
                bar.update(task, description=what, completed=steps, total=total, note=note)
