"""What commands print for programs: --json."""

import json
from pathlib import Path
from typing import Any

import pytest

from skinclf.distributed.preflight import Check
from skinclf.stages.export import Export
from skinclf.stages.replicate import COLUMNS
from skinclf.stages.score_summary import Summary
from tests.evaluation.drawn import drawn_cross_validation, drawn_predictions, evaluation_result
from tests.support.command import Command
from tests.support.images import jpeg
from tests.support.runs import write_run
from tests.support.scores import write_scores

EXPORT = ("export", "--to", "onnx", "--output", "exports/onnx")
PAPER = ("the paper, val", "0.9406", "0.1452", "", "")
RESULT = evaluation_result(drawn_predictions(60, 1))

STAGES: dict[str, tuple[tuple[str, ...], Any, Any]] = {
    # stage: (its command, what it returns, what is printed of that)
    "train.train": (("train",), [{"epoch": 1.0}], {"run": "runs/first", "history": [{"epoch": 1}]}),
    "doctor.doctor": (("doctor",), [Check("slots", True, "2 at once")], "2 at once"),
    "explore.explore": (("explore",), "exploration.html", {"page": "exploration.html"}),
    "evaluate.evaluate": (("evaluate",), (RESULT, "report.html"), "balanced_accuracy"),
    "replicate.replicate": (
        ("replicate",),
        ([PAPER], "p.html"),
        {
            "page": "p.html",
            "rows": [dict(zip(COLUMNS, PAPER, strict=True))],
        },
    ),
    "cross_validate.cross_validate": (
        ("cross-validate",),
        (drawn_cross_validation(), "page.html"),
        "balanced_accuracy",
    ),
    "score.score": (
        ("score",),
        Summary("scores/m", "m", "2026", 3, 2, {"nv": 2}, {"empty": 1}, {"nv": 0.1}, 3, 0, 9.5),
        "images_per_second",
    ),
    "export.export": (
        EXPORT,
        Export("onnx", "m", ["nv"], 75, 100, 8, 1e-7, {"keras": "3"}),
        "largest_difference",
    ),
}


@pytest.fixture
def skinclf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_returns_is_printed_as_one_json_text(
    skinclf: Command, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    command, returned, expected = STAGES[stage]
    monkeypatch.setattr(f"skinclf.stages.{stage}", lambda *_: returned)
    done = skinclf(*command, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    if isinstance(expected, str):
        assert expected in done.stdout
    else:
        assert printed == expected


def test_pages_are_named_with_what_is_on_them(skinclf: Command, tmp_path: Path) -> None:
    page = str(tmp_path / "page.html")
    runs = [str(tmp_path / name) for name in ("first", "second")]
    for run in runs:
        write_run(Path(run), drawn_predictions(60, 1))
    compared = json.loads(skinclf("compare", *runs, "--output", page, "--json").stdout)
    assert compared["page"] == page
    assert [run["run"] for run in compared["runs"]] == runs

    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.jpg").write_bytes(jpeg())
    probabilities = [0.1, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0]
    write_scores(tmp_path / "model", tmp_path / "archive", {"a": probabilities}, {})
    done = skinclf("browse", str(tmp_path / "model"), "--output", page, "--json")
    browsed = json.loads(done.stdout)
    assert (browsed["page"], browsed["images"]) == (page, {"nv": 1})
    assert browsed["shown"]["nv"] == 1
