import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from skinclf.errors import RunError
from skinclf.evaluation.metrics import METRICS, Metric
from skinclf.reporting.evaluation import most_confident_errors, picture, write_report
from skinclf.reporting.pages import in_markdown, threshold
from skinclf.reporting.results import read_result, write_result
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from skinclf.storage.run_folder import RunFolder
from tests.evaluation.drawn import drawn_predictions, evaluation_result

SMALL = ImageSpec(height=8, width=12)
FLOWERS = Taxonomy(codes=("daisy", "rose", "tulip"), majority="rose", screened="")


def report(taxonomy: Taxonomy, folder: Path, sources: Sequence[str] = ()) -> str:
    """The text of the report of 80 drawn images."""
    predictions = drawn_predictions(80, 3, taxonomy)
    if sources:
        predictions.groups["dataset"] = np.array(sources)
    result = evaluation_result(predictions, sensitivities=(0.8, 0.95), rounds=20)
    errors = most_confident_errors(predictions)
    pictures = {error.image_id: picture(bytes(SMALL.size_bytes), SMALL) for error in errors}
    run = RunFolder(str(folder))
    return Path(
        write_report(result, predictions, errors, pictures, run, run.evaluation("test"))
    ).read_text()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.02469, "0.02469"), (0.123456, "0.1234"), (0.0003, "0.0002999"), (0, "0")],
)
def test_a_threshold_is_rounded_down(value: float, shown: str) -> None:
    """Rounded up it would not be reached by the image whose probability it is."""
    assert threshold(value) == shown
    assert float(threshold(value)) <= value


def test_the_report_is_of_the_taxonomy_s_classes(tmp_path: Path) -> None:
    page = report(FLOWERS, tmp_path)
    assert "always rose (majority class)" in page
    assert "each of the 3 outputs" in page
    assert "1 of 3 outputs right" in page
    assert "or not, at a chosen sensitivity" not in page  # no class is screened
    assert not [word for word in ("mel", "nv", "seven") if f" {word} " in page]


def test_the_report_of_ham10000_screens_melanoma(tmp_path: Path) -> None:
    page = report(HAM10000, tmp_path)
    assert "Melanoma or not, at a chosen sensitivity" in page
    assert "<th>mel sensitivity</th>" in page
    assert "always nv (majority class)" in page


def test_where_images_have_sources_the_report_has_a_row_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "<h2>Sources</h2>" not in report(HAM10000, tmp_path)
    monkeypatch.setattr("skinclf.evaluation.sources.LEAST_FOR_A_CURVE", 50)
    page = report(HAM10000, tmp_path, ["<b>"] * 50 + ["_B$"] * 30)
    row = page.partition("<td>&lt;b&gt;</td><td>50</td>")[2]
    assert re.match(r"<td>\d+</td><td>[\d.]+% <span", row)
    assert "<td>nv</td>" in row  # the only class of ten images
    assert (tmp_path / "evaluation" / "test" / "reliability-by-source.png").exists()


def test_an_added_metric_stands_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = Metric("error rate", lambda found: float((found.predicted != found.labels).mean()))
    monkeypatch.setitem(METRICS, "error_rate", metric)
    assert "<td>Error rate</td>" in report(HAM10000, tmp_path)


def test_the_most_confident_errors_come_first() -> None:
    predictions = drawn_predictions(300, 3)
    errors = most_confident_errors(predictions)
    assert len(errors) == 12
    assert [error.confidence for error in errors] == sorted(
        (error.confidence for error in errors), reverse=True
    )
    assert all(error.truth != error.predicted for error in errors)


def test_a_result_is_read_as_it_was_written_and_nothing_else_is(tmp_path: Path) -> None:
    path = str(tmp_path / "metrics.json")
    result = evaluation_result(drawn_predictions(30, 1))
    write_result(path, result)
    assert read_result(path) == result
    (tmp_path / "metrics.json").write_text('{"model": {}}')
    with pytest.raises(RunError, match=r"metrics\.json: can't be read as an evaluation"):
        read_result(path)


def test_names_from_outside_are_plain_text_in_markdown() -> None:
    assert in_markdown("<b>a|b</b>\n`x`") == r"\<b\>a\|b\</b\> \`x\`"
