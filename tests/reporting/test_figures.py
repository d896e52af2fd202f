"""Figures of more than anybody looks at have an end."""

import numpy as np
from matplotlib.figure import Figure

from skinclf.evaluation.predictions import Predictions
from skinclf.reporting.figures.clinical import (
    MOST_CURVES,
    confusion_figure,
    forest_figure,
    roc_figure,
)
from skinclf.reporting.figures.comparison import Estimate, estimates_figure
from skinclf.reporting.figures.counts import bar_figure, histogram_figure, samples_figure
from skinclf.reporting.figures.style import MOST_ROWS
from skinclf.spec.taxonomy import Taxonomy
from tests.evaluation.drawn import drawn_predictions, evaluation_result

MANY = [f"disease_{number}" for number in range(500)]
LARGEST = 70.0
"""Inches, at 144 pixels each."""


def size_and_title(figure: Figure) -> tuple[float, str]:
    (axes,) = figure.axes
    return max(figure.get_size_inches()), axes.get_title()


def test_a_confusion_matrix_of_many_classes_has_colors_and_no_numbers() -> None:
    few, many = (confusion_figure(np.eye(n, dtype=int), MANY[:n], "") for n in (7, 500))
    assert [len(figure.axes[0].texts) for figure in (few, many)] == [49, 0]
    assert max(many.get_size_inches()) < 20
    names = [label.get_text() for label in many.axes[0].get_yticklabels()]
    assert names[:2] == ["disease_0", "disease_9"]


def test_rows_of_which_there_are_too_many_are_the_largest() -> None:
    result = evaluation_result(drawn_predictions(60, 1))
    (row, *_) = result.classes.values()
    rows = [(name, row.model_copy(update={"images": n})) for n, name in enumerate(MANY)]
    for figure in (
        forest_figure("Sensitivity", rows, "sensitivity"),
        bar_figure("Diagnoses", {name: n for n, name in enumerate(MANY)}, "dx"),
    ):
        size, title = size_and_title(figure)
        assert size < LARGEST
        assert title.endswith(f": the {MOST_ROWS} largest of 500")
        shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert (len(shown), shown[0]) == (MOST_ROWS, "disease_400")
    assert bar_figure("Sex", {"female": 1}, "sex").axes[0].get_title() == "Sex"


def test_curves_are_those_of_the_largest_classes() -> None:
    taxonomy = Taxonomy(codes=tuple(MANY), majority=MANY[0], screened="")
    labels = np.repeat(np.arange(30, dtype=np.int32), np.arange(1, 31))
    probabilities = np.full((len(labels), 500), 1 / 500, np.float32)
    names = tuple(map(str, labels))
    found = Predictions(labels, probabilities, names, np.arange(len(labels)), taxonomy, {})
    (axes,) = roc_figure(found).axes
    assert axes.get_title() == "ROC: the 20 largest of 30"
    legend = axes.get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert (len(shown), shown[0]) == (MOST_CURVES, "disease_10")


def test_a_comparison_and_samples_of_many_have_an_end() -> None:
    estimates = [Estimate(0.5, (0.4, 0.6))] * 500
    figure = estimates_figure("Metrics", "percent", MANY, {"a": estimates, "b": estimates})
    size, title = size_and_title(figure)
    assert (size < 200, title) == (True, "Metrics: the first 333 of 500")
    pixels = np.zeros((3, 4, 3), np.uint8)
    assert len(samples_figure("Images", dict.fromkeys(MANY, pixels)).axes) == 30


def test_a_histogram_of_nothing_has_no_axes() -> None:
    figure = histogram_figure("Age", [0, 5], [0, 0], 5, "age in years")
    assert figure.axes == []
    assert [text.get_text() for text in figure.texts] == ["Age", "not known of any image"]
