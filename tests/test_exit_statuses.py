"""What a job's process ends with: docs/reference/exit-statuses.md."""

import inspect
import re

import pytest

import skinclf as package
from skinclf import errors
from skinclf.api import Evaluated
from skinclf.errors import QualityError, SkinclfError
from tests.evaluation.drawn import drawn_predictions, evaluation_result
from tests.support.command import Command
from tests.support.documentation import PAGES

PAGE = PAGES["docs/reference/exit-statuses.md"]

STATUSES = {
    2: {
        *("UsageError", "ConfigError", "ArchiveError", "MetadataError", "DatasetError", "RunError"),
        *("DamagedCheckpoint", "LeakError", "PreflightError", "JavaError", "UnknownStorage"),
    },
    3: {"QualityError"},
    75: {
        *("StorageUnavailable", "ArchiveChanged", "ExecutorsLost", "WorkersLost"),
        "SlotsUnavailable",
    },
}
"""All others: 1."""

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.fixture
def skinclf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_ends_a_command_with_its_status_and_one_line(
    skinclf: Command, monkeypatch: pytest.MonkeyPatch, kind: type[SkinclfError]
) -> None:
    def fail(*_: object) -> None:
        raise kind("what happened")

    monkeypatch.setattr("skinclf.stages.explore.explore", fail)
    done = skinclf("explore")
    expected = next((status for status, names in STATUSES.items() if kind.__name__ in names), 1)
    assert (done.returncode, done.stderr) == (expected, "error: what happened\n")


def test_the_page_has_every_status() -> None:
    told = {int(status) for status in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert told == {0, 1, *STATUSES, 130, 143}
    for name in set().union(*STATUSES.values()):
        assert name in dir(errors)


def test_a_missed_gate_is_status_3_after_the_metrics_were_printed(
    skinclf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = evaluation_result(drawn_predictions(60, 1))
    monkeypatch.setattr("skinclf.stages.evaluate.evaluate", lambda *_: (result, "report.html"))
    gate = ("--set", "evaluate.gates.balanced_accuracy=1")
    done = skinclf("evaluate", *gate)
    assert done.returncode == 3
    assert "balanced accuracy" in done.stdout
    assert "report.html" in done.stdout
    assert re.fullmatch(
        r"error: evaluate\.gates on test: balanced_accuracy is 0\.\d+.*, at least 1 is expected\. "
        r"Everything is written: report\.html\n",
        done.stderr,
    )
    assert skinclf("evaluate", "--set", "evaluate.gates.balanced_accuracy=0.1").returncode == 0
    with pytest.raises(QualityError) as caught:
        package.evaluate(settings={"evaluate.gates": {"balanced_accuracy": 1}})
    assert caught.value.result == Evaluated(result, "report.html")  # for a notebook to show
