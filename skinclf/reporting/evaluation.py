"""The figures of one evaluation → report.html, self-contained, with its pictures beside it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from skinclf import __version__
from skinclf.evaluation.predictions import GROUPS, Predictions
from skinclf.reporting.figures.clinical import (
    confusion_figure,
    coverage_figure,
    forest_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from skinclf.reporting.figures.training import history_figures
from skinclf.reporting.pages import png, render
from skinclf.spec.image import tensor_array
from skinclf.spec.taxonomy import CODES, NAMES
from skinclf.storage import run_folder
from skinclf.storage.files import join, write_bytes, write_text

GALLERY = 12


@dataclass(frozen=True)
class ConfidentError:
    """An image whose answer is wrong and sure."""

    image_id: str
    truth: str
    answer: str
    confidence: float


def most_confident_errors(predictions: Predictions) -> list[ConfidentError]:
    """The surest wrong answers, at most GALLERY."""
    wrong = np.flatnonzero(predictions.answers != predictions.labels)
    surest = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:GALLERY]
    return [
        ConfidentError(
            predictions.image_ids[n],
            CODES[predictions.labels[n]],
            CODES[predictions.answers[n]],
            float(predictions.confidence[n]),
        )
        for n in surest
    ]


def write_report(
    metrics: dict[str, Any],
    predictions: Predictions,
    errors: Sequence[ConfidentError],
    pixels: Mapping[str, bytes],
    run: str,
    folder: str,
) -> str:
    """Draw and write everything; returns the page's path. `pixels`: image_id → 22,500 bytes."""
    figures = {name: png(figure) for name, figure in _figures(metrics, predictions).items()}
    for name, picture in figures.items():
        write_bytes(join(folder, f"{name}.png"), picture)
    curves = history_figures(run_folder.read_history(run)).values()
    page = render(
        "evaluation.html.j2",
        {
            "title": f"Evaluation on {metrics['set']}",
            "version": __version__,
            "metrics": metrics,
            "names": NAMES,
            "groups": GROUPS,
            "run": run,
            "figures": figures,
            "curves": [png(figure) for figure in curves],
            "gallery": [(error, _picture(pixels[error.image_id])) for error in errors],
        },
    )
    path = join(folder, run_folder.REPORT)
    write_text(path, page)
    return path


def _figures(metrics: dict[str, Any], predictions: Predictions) -> dict[str, Any]:
    """File name → figure."""
    classes = [(f"{code} ({row['images']})", row) for code, row in metrics["classes"].items()]
    groups = [
        (f"{column.replace('_', ' ')}: {value} ({row['images']})", row)
        for column, rows in metrics["subgroups"].items()
        for value, row in rows.items()
    ]
    return {
        "confusion": confusion_figure(np.array(metrics["confusion"]), "Confusion"),
        "sensitivity": forest_figure("Sensitivity by class", classes, "sensitivity"),
        "roc": roc_figure(predictions),
        "precision-recall": precision_recall_figure(predictions),
        "reliability": reliability_figure(metrics["calibration"]),
        "coverage": coverage_figure(predictions),
        "subgroups": forest_figure("Top-1 accuracy by group", groups, "accuracy"),
    }


def _picture(pixels: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tensor_array(pixels)).save(buffer, "PNG")
    return buffer.getvalue()
