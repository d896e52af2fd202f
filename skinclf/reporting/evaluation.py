"""The result of one evaluation → report.html, self-contained, with its pictures beside it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from skinclf import __version__
from skinclf.evaluation.predictions import GROUPS, Predictions
from skinclf.evaluation.result import EvaluationResult, screened_sensitivity
from skinclf.evaluation.sources import LEAST_IMAGES, MOST_SOURCES
from skinclf.reporting.figures.clinical import (
    confusion_figure,
    coverage_figure,
    forest_figure,
    parts_reliability_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from skinclf.reporting.figures.training import history_figures
from skinclf.reporting.pages import png, render
from skinclf.reporting.tables import INTERVAL, baseline_title, metric_rows
from skinclf.spec.image import pixels_array
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.evaluation_folder import EvaluationFolder
from skinclf.storage.files import write_bytes, write_text
from skinclf.storage.run_folder import RunFolder

GALLERY = 12
MOST_CURVES = 6


@dataclass(frozen=True)
class ConfidentError:
    """An image with a wrong predicted class of high confidence."""

    image_id: str
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Neighbors:
    """A tested image, and the seen one that the model takes for most like it."""

    image_id: str
    seen: str
    similarity: float


def most_confident_errors(predictions: Predictions) -> list[ConfidentError]:
    """The wrong predictions of the highest confidence, at most GALLERY."""
    codes, predicted = predictions.taxonomy.codes, predictions.predicted
    wrong = np.flatnonzero(predicted != predictions.labels)
    first = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:GALLERY]
    return [
        ConfidentError(
            predictions.image_ids[n],
            codes[predictions.labels[n]],
            codes[predicted[n]],
            float(predictions.confidence[n]),
        )
        for n in first
    ]


def write_report(
    result: EvaluationResult,
    predictions: Predictions,
    errors: Sequence[ConfidentError],
    pictures: Mapping[str, bytes],
    run: RunFolder,
    folder: EvaluationFolder,
    neighbors: Sequence[tuple[Neighbors, bytes, bytes]] = (),
) -> str:
    """Draw and write everything; returns the page's path.

    `pictures`: image_id → PNG, for each of `errors`. `neighbors`: pairs with both pictures.
    """
    figures = {name: png(figure) for name, figure in _figures(result, predictions).items()}
    for name, picture in figures.items():
        write_bytes(folder.picture(name), picture)
    curves = history_figures(run.read_history())
    taxonomy = result.taxonomy
    page = render(
        "evaluation.html.j2",
        {
            "title": f"Evaluation on {result.set}",
            "version": __version__,
            "result": result,
            "rows": metric_rows(result),
            "interval_title": INTERVAL,
            "baseline_title": baseline_title(taxonomy),
            "taxonomy": taxonomy,
            "of_ham10000": taxonomy.codes == HAM10000.codes,
            "screened_sensitivity": screened_sensitivity(taxonomy) if taxonomy.screened else None,
            "least_images": LEAST_IMAGES,
            "most_sources": MOST_SOURCES,
            "groups": [column for column in GROUPS if column in result.subgroups],
            "run": run.path,
            "figures": figures,
            "curves": {name: png(figure) for name, figure in curves.items()},
            "neighbors": neighbors,
            "gallery": [(error, pictures[error.image_id]) for error in errors],
        },
    )
    write_text(folder.report, page)
    return folder.report


def picture(pixels: bytes, image: ImageSpec) -> bytes:
    """A tensor's `pixels` as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels_array(pixels, image)).save(buffer, "PNG")
    return buffer.getvalue()


def _figures(result: EvaluationResult, predictions: Predictions) -> dict[str, Figure]:
    """File name → figure."""
    classes = [(f"{code} ({row.images})", row) for code, row in result.classes.items()]
    groups = [
        (f"{column.replace('_', ' ')}: {value} ({row.images})", row)
        for column, rows in result.subgroups.items()
        for value, row in rows.items()
    ]
    confusion = np.array(result.confusion)
    return {
        "confusion": confusion_figure(confusion, result.taxonomy.codes, "Confusion"),
        "sensitivity": forest_figure("Sensitivity by class", classes, "sensitivity"),
        "roc": roc_figure(predictions),
        "precision-recall": precision_recall_figure(predictions),
        "reliability": reliability_figure(result.calibration),
        "coverage": coverage_figure(predictions),
        "subgroups": forest_figure("Top-1 accuracy by subgroup", groups, "accuracy"),
        **figures_of_sources(result),
    }


def figures_of_sources(result: EvaluationResult) -> dict[str, Figure]:
    """The reliability of the largest sources; none where all are small, or there are none."""
    curves = {name: part.reliability for name, part in result.sources.items() if part.reliability}
    shown = dict(list(curves.items())[:MOST_CURVES])
    return {"reliability-by-source": parts_reliability_figure(shown)} if shown else {}
