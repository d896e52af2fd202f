from pathlib import Path

import pytest

from skinclf.evaluation.comparison import Difference, paired_differences
from skinclf.evaluation.metrics import METRICS
from skinclf.reporting.comparison import (
    ComparedRun,
    Comparison,
    differing_settings,
    shown_settings,
    write_comparison,
)
from skinclf.reporting.figures.comparison import Estimate, estimates_figure
from skinclf.reporting.tables import difference_rows
from tests.evaluation.drawn import drawn_predictions, evaluation_result


def two_runs(name: str = "second", first_name: str = "first", *, paired: bool = True) -> Comparison:
    first, other = drawn_predictions(80, 1), drawn_predictions(80, 2)
    other = type(first)(
        *(first.labels, other.probabilities, first.image_ids, first.lesions, first.taxonomy)
    )
    settings = {"train.seed": "1", "train.epochs": "25"}
    return Comparison(
        "test",
        [
            ComparedRun(
                first_name, "/runs/first", settings, evaluation_result(first, rounds=20), 80
            ),
            ComparedRun(
                name,
                f"/runs/{name}",
                settings | {"train.seed": "2"},
                evaluation_result(other, rounds=20),
                80 if paired else 7,
                paired_differences(first, other, 20) if paired else None,
            ),
        ],
    )


def page_of(comparison: Comparison, folder: Path) -> str:
    write_comparison(comparison, str(folder / "compare.html"))
    return (folder / "compare.html").read_text()


def test_only_settings_that_differ_are_listed() -> None:
    first = shown_settings({"train.seed": 1, "model.zero_centered": True, "model.name": "tiny"})
    other = shown_settings({"train.seed": 1, "model.zero_centered": False, "train.loss": "focal"})
    assert differing_settings([first, other]) == [
        ("model.zero_centered", ["true", "false"]),
        ("model.name", ["tiny", "–"]),
        ("train.loss", ["–", "focal"]),
    ]


def test_a_difference_has_its_sign_and_unit_and_says_whether_zero_is_excluded() -> None:
    differences = dict.fromkeys(METRICS, Difference(0.5, None))
    differences["accuracy"] = Difference(0.021, (0.0034, 0.04))
    differences["balanced_accuracy"] = Difference(-0.021, (-0.05, 0.01))
    differences["categorical_crossentropy"] = Difference(-0.25, None)
    rows = {row.title: row for row in difference_rows(differences)}
    assert rows["top-1 accuracy"].cell == "+2.1 pp (+0.3 to +4.0 pp)"
    assert rows["balanced accuracy"].cell == "-2.1 pp (-5.0 to +1.0 pp)"
    assert rows["categorical cross-entropy"].cell == "-0.2500"
    assert [title for title, row in rows.items() if row.excludes_zero] == ["top-1 accuracy"]


def test_the_page_has_metrics_differences_settings_and_figures(tmp_path: Path) -> None:
    page = page_of(two_runs(), tmp_path)
    assert "2 runs compared on test" in page
    assert "Differences to first" in page
    assert "<code>train.seed</code>" in page
    assert "train.epochs" not in page
    assert page.count("data:image/png;base64,") == 3
    assert 'src="http' not in page


def test_runs_of_other_images_are_said_to_be_so(tmp_path: Path) -> None:
    page = page_of(two_runs(paired=False), tmp_path)
    assert "second was evaluated on other images, lesions or diagnoses than first." in page
    assert "7 image ids" in page
    assert "Differences to first" not in page
    assert page.count("data:image/png;base64,") == 2


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '" onload="x', "$a_b$ \x1b[31m", r"$\frac{$"]
)
def test_a_run_s_name_is_text(tmp_path: Path, name: str) -> None:
    page = page_of(two_runs(name, f"{name} first"), tmp_path)
    assert "<script>" not in page
    assert ' onload="x' not in page
    assert "\x1b" not in page


def test_the_figure_names_every_run_whatever_it_is_called() -> None:
    estimates = [Estimate(97.0, (94.0, 99.0)), Estimate(None, None)]
    figure = estimates_figure("Metrics", "percent", ["a", "b"], {"_run": estimates, "$": estimates})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["_run", r"\$"]
    (axes,) = figure.axes
    assert len(axes.lines) == 4  # of each run an interval and a value
