"""What a job's process ends with: docs/reference/exit-statuses.md."""

import errno
import inspect
import json
import os
import re
from pathlib import Path

import pytest

import skinclf as package
from skinclf import errors
from skinclf.api import CrossValidated, Evaluated, Scored
from skinclf.cli.process import _status_of
from skinclf.errors import QualityError, SkinclfError
from skinclf.stages.score_summary import Summary
from tests.evaluation.drawn import drawn_cross_validation, drawn_predictions, evaluation_result
from tests.support.command import Command
from tests.support.documentation import PAGES
from tests.support.images import write_zip

PAGE = PAGES["docs/reference/exit-statuses.md"]

STATUSES = {
    2: {
        *("UsageError", "ConfigError", "ArchiveError", "MetadataError", "DatasetError", "RunError"),
        *("DamagedCheckpoint", "LeakError", "PreflightError", "JavaError", "UnknownStorage"),
        "InvalidUri",
    },
    3: {"QualityError"},
    75: {
        *("StorageUnavailable", "ArchiveChanged", "ExecutorsLost", "WorkersLost"),
        "SlotsUnavailable",
    },
}
"""All others: 1."""

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize(
    ("number", "status", "advice"),
    [
        (errno.ENOSPC, 1, "Make room, and rerun the same command"),
        (errno.EACCES, 2, "Check the path, or choose another one"),
    ],
)
def test_a_full_disk_is_no_wrong_use(
    capsys: pytest.CaptureFixture[str], number: int, status: int, advice: str
) -> None:
    assert _status_of(OSError(number, os.strerror(number), "f"), as_json=False) == status
    assert advice in " ".join(capsys.readouterr().err.split())


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


def test_a_folder_that_may_not_be_entered_is_reported_in_one_line(
    skinclf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/root/dataset")

    monkeypatch.setattr("skinclf.stages.explore.explore", fail)
    done = skinclf("explore")
    assert done.returncode == 2
    assert done.stderr == (
        "error: [Errno 13] Permission denied: '/root/dataset'. Check the path, or choose another "
        "one\n"
    )


UNKNOWN_HOST = OSError(
    "When reading information for key 'dataset.json' in bucket 'b': AWS Error NETWORK_CONNECTION "
    "during HeadObject operation: curlCode: 6, Could not resolve hostname"
)
REFUSED = OSError("AWS Error ACCESS_DENIED during HeadObject operation: No response body.")


@pytest.mark.parametrize(("error", "status"), [(UNKNOWN_HOST, 75), (REFUSED, 2)])
@pytest.mark.parametrize(
    "arguments",
    [
        ("explore", "--dataset", "{}"),
        ("evaluate", "--run", "{}"),
        ("score", "--run", "{}"),
        ("prepare", "--archive", "a.zip", "--metadata", "rows.csv", "--output", "{}"),
    ],
)
def test_storage_that_is_not_reached_may_be_there_later_wherever_it_is_asked_first(
    skinclf: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: OSError,
    status: int,
    arguments: tuple[str, ...],
) -> None:
    class NoStorage:
        def get_file_info(self, _: object) -> None:
            raise error

        open_input_file = get_file_info

    write_zip(tmp_path / "a.zip", {})
    (tmp_path / "rows.csv").write_text("lesion_id,image_id,dx\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("skinclf.storage.files._s3", lambda *_: NoStorage())
    monkeypatch.setattr("skinclf.storage.files.PAUSES", ())
    done = skinclf(*(word.format("s3://b/x") for word in arguments), "--dry-run")
    assert (done.returncode, done.stdout) == (status, "")
    assert str(error) in done.stderr
    assert "Traceback" not in done.stderr


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


def test_a_missed_gate_of_a_cross_validation_is_status_3_as_well(
    skinclf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = drawn_cross_validation()
    monkeypatch.setattr("skinclf.stages.cross_validate.cross_validate", lambda *_: (found, "p"))
    gate = ("--set", "evaluate.gates.balanced_accuracy=1")
    done = skinclf("cross-validate", *gate)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (3, "p")
    assert "fold 3" in done.stdout
    assert "evaluate.gates on 3 folds: balanced_accuracy is 0." in done.stderr
    assert skinclf("cross-validate").returncode == 0
    with pytest.raises(QualityError) as caught:
        package.cross_validate(settings={"evaluate.gates": {"balanced_accuracy": 1}})
    assert caught.value.result == CrossValidated(found, "p")


def test_too_many_rejects_are_status_3_after_the_counts_were_printed(
    skinclf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = Summary("scores/m", "m", "", 4, 3, {"nv": 3}, {"empty": 1}, {}, 4, 0, 9.5)
    monkeypatch.setattr("skinclf.stages.score.score", lambda *_: summary)
    limit = ("--set", "score.max_reject_fraction=0.2")
    done = skinclf("score", *limit, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["rejects"] == {"empty": 1}
    assert "scores/m: 1 of 4 inputs were rejected, more than score.max_reject_fr" in done.stderr
    assert skinclf("score").returncode == 0
    with pytest.raises(QualityError) as caught:
        package.score(settings={"score.max_reject_fraction": 0.2})
    assert caught.value.result == Scored(summary)
