"""The pages of a cross-validation."""

from pathlib import Path

import pytest

from skinclf.evaluation.result import CrossValidation, DecisionMetrics
from skinclf.reporting.cross_validation import write_pages
from skinclf.spec.decision import DecisionRule
from skinclf.storage.cross_validation_folder import CrossValidationFolder
from tests.evaluation.drawn import drawn_cross_validation

FALL = "On sources that were not trained on, balanced accuracy is 20.0 percentage points lower"
WEIGHTS = "the weights were chosen on these validation images"
TOO_GOOD = "what was chosen is too good for them"


def pages(found: CrossValidation, folder: Path) -> tuple[str, str]:
    written = CrossValidationFolder(str(folder))
    write_pages(found, written)
    return Path(written.page).read_text(), Path(written.card).read_text()


@pytest.fixture
def by_source() -> CrossValidation:
    """Sources on which balanced accuracy is 0.2 lower than on the validation images."""
    found = drawn_cross_validation()
    balanced = found.pooled.model["balanced_accuracy"]
    assert balanced is not None
    update = {
        "validation": {"accuracy": 0.7, "balanced_accuracy": balanced + 0.2},
        "classes": found.pooled.taxonomy.codes,
    }
    folds = tuple(fold.model_copy(update=update) for fold in found.folds)
    return found.model_copy(update={"by": "source", "folds": folds})


def test_what_is_lost_on_new_sources_is_said(by_source: CrossValidation, tmp_path: Path) -> None:
    for text in pages(by_source, tmp_path):
        assert FALL in text.replace("</strong>", "")
        assert WEIGHTS not in " ".join(text.split())
        assert TOO_GOOD not in text
    for text in pages(drawn_cross_validation(), tmp_path):
        assert "On sources that were not trained on" not in text


def test_what_was_chosen_on_what_it_is_judged_by_is_said(
    by_source: CrossValidation, tmp_path: Path
) -> None:
    decision = DecisionMetrics(
        asked=DecisionRule(rule="accuracy"),
        weights=dict.fromkeys(by_source.pooled.taxonomy.codes, 1.0),
        accuracy=0.5,
        balanced_accuracy=0.5,
    )
    pooled = by_source.pooled.model_copy(update={"decision": decision, "chosen_on": "test"})
    page, card = pages(by_source.model_copy(update={"pooled": pooled}), tmp_path)
    for text in (page, card):
        assert WEIGHTS in " ".join(text.split())
    assert page.count(TOO_GOOD) == 2  # of thresholds, and of the temperature
