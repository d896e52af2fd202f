"""Dataset + run → predictions, figures of merit and a report."""

import json
import logging
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq
from rich.console import Console

from skinclf import __version__, run_folder
from skinclf.config import Config
from skinclf.dataset_folder import Dataset
from skinclf.errors import CheckError
from skinclf.figures import confusion_figure, history_figure
from skinclf.labels import CODES, NAMES, label_of, probability_column
from skinclf.learn.predictor import Predictor
from skinclf.metrics import Labels, Probabilities
from skinclf.metrics import evaluate as figures_of_merit
from skinclf.report import png, render_page
from skinclf.storage import absolute, hadoop_path, join, locate, write_bytes, write_text
from skinclf.tables.dataset import read_tensors
from skinclf.tables.progress import spark_progress
from skinclf.tables.scores import predicted_tensors
from skinclf.tables.session import spark_session
from skinclf.tracking import Tracking

log = logging.getLogger(__name__)


def evaluate(config: Config, console: Console) -> tuple[dict[str, Any], str]:
    """Predict a split with the run's model → (what metrics.json holds, the report's path).

    Raises DatasetError or RunError for what is missing, CheckError where an image got lost.
    """
    dataset = Dataset.read(config.dataset.path)
    predictor = Predictor.of_run(absolute(config.run.path))
    folder = join(config.run.path, run_folder.EVALUATION)
    split = config.evaluate.split
    predictions = join(folder, f"predictions-{split}")
    with (
        spark_session("evaluate", config.spark) as spark,
        spark_progress(spark, "predict", console),
    ):
        tensors = read_tensors(spark, dataset.path).where(f"split = '{split}'")
        predicted_tensors(tensors, predictor, config.evaluate.batch_images).write.parquet(
            hadoop_path(predictions), mode="overwrite"
        )
    labels, probabilities = _read_predictions(predictions)
    expected = sum(dataset.rows_of(split))
    if len(labels) != expected or expected == 0:
        raise CheckError(
            f"{predictions}: {len(labels)} predictions for the {expected} images of split {split} "
            f"in {dataset.path}"
        )
    metrics = figures_of_merit(labels, probabilities)
    write_text(join(folder, f"metrics-{split}.json"), json.dumps(metrics, indent=1) + "\n")
    report = _write_report(metrics, dataset, predictor, split, folder)
    tracking = Tracking.of_run(config, predictor.run)
    if tracking:
        tracking.results({f"{split}_{name}": value for name, value in metrics["model"].items()})
        names = (f"metrics-{split}.json", f"confusion-{split}.png")
        tracking.files([report, *(join(folder, name) for name in names)], run_folder.EVALUATION)
    log.info("evaluated %s images of split %s; report: %s", f"{len(labels):,}", split, report)
    return metrics, report


def _read_predictions(path: str) -> tuple[Labels, Probabilities]:
    """labels (n,) int32 and probabilities (n, 7) float32 of the written predictions."""
    file_system, inner = locate(path)
    columns = ["dx", *map(probability_column, CODES)]
    table: pa.Table = pq.read_table(inner, columns=columns, filesystem=file_system)
    labels = np.array([label_of(code) for code in table["dx"].to_pylist()], np.int32)
    probabilities = np.stack([table[name].to_numpy() for name in columns[1:]], axis=1)
    return labels, probabilities


def _write_report(
    metrics: dict[str, Any],
    dataset: Dataset,
    predictor: Predictor,
    split: str,
    folder: str,
) -> str:
    confusion = png(confusion_figure(np.array(metrics["confusion"]), f"Confusion, {split} split"))
    write_bytes(join(folder, f"confusion-{split}.png"), confusion)
    history = run_folder.read_history(predictor.run)
    curves = [
        png(history_figure(history, metric, f"{metric.replace('_', ' ').capitalize()} by epoch"))
        for metric in ("accuracy", "loss")
        if history
    ]
    page = render_page(
        "evaluation.html.j2",
        {
            "title": "Evaluation",
            "version": __version__,
            "metrics": metrics,
            "names": NAMES,
            "split": split,
            "split_by": dataset.split.by,
            "model": predictor.digest,
            "run": predictor.run,
            "confusion": confusion,
            "curves": curves,
        },
    )
    path = join(folder, f"report-{split}.html")
    write_text(path, page)
    return path
