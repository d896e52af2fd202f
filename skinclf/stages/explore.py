"""Dataset → the paper's figures 6.1–6.6, as PNG files and one page."""

import logging

from matplotlib.figure import Figure
from rich.console import Console

from skinclf import __version__
from skinclf.config.schema import Config
from skinclf.errors import DatasetError
from skinclf.reporting.figures.counts import bar_figure, histogram_figure, samples_figure
from skinclf.reporting.pages import png, render
from skinclf.spark.caching import kept_frames
from skinclf.spark.exploration import AGE_YEARS, Exploration, explore_tensors
from skinclf.spark.failures import spark_failures
from skinclf.spark.progress import spark_progress
from skinclf.spark.session import spark_session
from skinclf.spark.tensors import dataset_tensors
from skinclf.stages.preview import Preview, session_text
from skinclf.storage.dataset_folder import EXPLORATION, MANIFEST, Dataset
from skinclf.storage.files import join, write_bytes, write_text

PAGE = "exploration.html"
"""Written last."""

log = logging.getLogger(__name__)


def explore(config: Config, console: Console) -> str:
    """Draw what the dataset of `config` holds; returns the path of the HTML page.

    Raises DatasetError where there is no dataset, or a part of it is missing.
    """
    dataset = Dataset.read(config.dataset.path)
    with (
        spark_session("explore", config.spark) as spark,
        spark_failures(dataset.path),
        spark_progress(spark, "explore", console),
        kept_frames() as keep,
    ):
        tensors = dataset_tensors(spark, dataset)
        exploration = explore_tensors(tensors, dataset.taxonomy, dataset.image, keep)
    if exploration.images != dataset.tensors:
        raise DatasetError(
            f"{dataset.path}: {exploration.images:,} images are there, and {dataset.tensors:,} in "
            f"{MANIFEST}: files are missing. Build the dataset anew: skinclf prepare"
        )
    figures = exploration_figures(exploration)
    if Dataset.read(dataset.path).digest != dataset.digest:
        raise DatasetError(f"{dataset.path}: was replaced while it was read. Run the command again")
    pictures = []
    for name, figure in figures.items():
        picture = png(figure)
        write_bytes(join(dataset.path, EXPLORATION, f"{name}.png"), picture)
        pictures.append(
            {"title": figure.get_suptitle() or figure.get_axes()[0].get_title(), "png": picture}
        )
    page = render(
        "exploration.html.j2",
        {
            "title": "What the dataset holds",
            "version": __version__,
            "images": exploration.images,
            "lesions": exploration.lesions,
            "inputs": dataset.inputs,
            "rejects": sum(dataset.rejects.values()),
            "split_by": dataset.split.in_words,
            "codes": dataset.taxonomy.codes,
            "splits": dataset.counts,
            "figures": pictures,
        },
    )
    path = join(dataset.path, EXPLORATION, PAGE)
    write_text(path, page)
    counts = {"figures": len(pictures), "images": exploration.images}
    log.info("drew %s figures of %s images in %s", *counts.values(), path, extra={"counts": counts})
    return path


def preview(config: Config) -> Preview:
    """What `explore` would do. Raises DatasetError where there is no dataset."""
    dataset = Dataset.read(config.dataset.path)
    writes = join(dataset.path, EXPLORATION)
    return Preview([dataset.path], [writes], [session_text(config.spark)])


def exploration_figures(exploration: Exploration) -> dict[str, Figure]:
    """File name → figure, in the order of the paper's figures 6.1–6.6."""
    ages = exploration.ages
    age_title = f"Ages ({exploration.unknown_ages:,} unknown)"
    return {
        "6-1-classes": bar_figure("Diagnoses", exploration.classes, "dx"),
        "6-2-dx-types": bar_figure("How the diagnosis was made", exploration.dx_types, "dx_type"),
        "6-3-localizations": bar_figure(
            "Where on the body", exploration.localizations, "localization"
        ),
        "6-4-ages": histogram_figure(
            age_title, list(ages), list(ages.values()), AGE_YEARS, "age in years"
        ),
        "6-5-sexes": bar_figure("Sex", exploration.sexes, "sex"),
        "6-6-samples": samples_figure("One image of each class", exploration.samples),
    }
