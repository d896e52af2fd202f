"""Dataset → run folder with a trained model."""

import logging

from rich.console import Console

from skinclf import run_folder
from skinclf.config import Config
from skinclf.dataset_folder import Dataset
from skinclf.errors import TrainingError
from skinclf.figures import history_figure
from skinclf.history import Epoch, is_over
from skinclf.launch import REQUIRED_CONF, train_until_done
from skinclf.learn.batches import check_divides, steps_an_epoch
from skinclf.report import png
from skinclf.stages.training_display import training_display
from skinclf.storage import absolute, join, write_bytes
from skinclf.tables.session import spark_session

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
        training_display(run, config.train.epochs, console),
    ):
        train_until_done(spark, dataset, run, config.train, config.supervise)
    history = run_folder.read_history(run)
    if not is_over(history, config.train):
        raise TrainingError(
            f"{run}: {len(history)} epochs in the history, {config.train.epochs} expected. "
            f"Is this folder on storage that driver and executors share?"
        )
    for metric in ("accuracy", "loss"):
        figure = history_figure(history, metric, f"{metric.capitalize()} by epoch")
        write_bytes(join(run, run_folder.FIGURES, f"{metric}.png"), png(figure))
    log.info("wrote the model of %s epochs to %s", len(history), join(run, run_folder.MODEL))
    return history
