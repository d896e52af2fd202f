import json
import logging
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from skinclf.errors import QualityError, UsageError
from skinclf.spec.decision import Decision, DecisionRule
from skinclf.spec.image import decode_rgb
from skinclf.spec.tables import REJECTS, scores_schema
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from skinclf.stages.score import _look_at_waiting, score, score_by
from skinclf.stages.score_summary import (
    Summary,
    check_rejects,
    log_summary,
    usual_shares,
    warn_of_rule,
)
from skinclf.storage.run_folder import RunFolder, model_digest
from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_ledger import ScoreLedger
from skinclf.training.predictor import Predictor
from tests.support.decoders import moved
from tests.support.documentation import example
from tests.support.images import jpeg, write_zip
from tests.support.models import Brightness
from tests.support.pipeline import pipeline_config
from tests.support.score_job import Job
from tests.support.scoring import BRIGHTNESS, Scoring

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def scored(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder and a zip, without metadata, scored: 150 sound images and four that are not.

    Two members of the zip share a name, and the folder is named twice.
    """
    folder = tmp_path_factory.mktemp("scored")
    archive = folder / "to score"
    archive.mkdir()
    sound = {f"IMG_{n:03}.jpg": jpeg((n, 90, 200 - n)) for n in range(150)}
    for name in list(sound)[:50]:
        (archive / name).write_bytes(sound[name])
    broken = {"a.jpg": b"", "b.jpg": b"nothing", "c.jpg": sound["IMG_100.jpg"][:150]}
    write_zip(archive / "ü.zip", {n: sound[n] for n in list(sound)[50:149]} | broken)
    with zipfile.ZipFile(archive / "ü.zip", "a") as members, pytest.warns(match="Duplicate name"):
        members.writestr("IMG_148.jpg", sound["IMG_149.jpg"])
    (archive / "no.zip").write_bytes(b"not a zip")
    paths = json.dumps([str(archive), str(archive / "IMG_000.jpg")])
    settings = (f"score.archive={paths}", f"score.output={folder / 'scores'}")
    summary = score(pipeline_config(trained, *settings), QUIET)
    return Path(summary.path)


def test_of_a_model_without_its_training_no_drift_is_known(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow and a run's teachers have such folders."""
    digest = model_digest(RunFolder(str(trained / "run")).read_model())
    assert usual_shares(str(trained / "run"), digest, HAM10000)
    for name in ("model.keras", "labels.json"):
        shutil.copy(trained / "run" / name, tmp_path)
    assert usual_shares(str(tmp_path), digest, HAM10000) == {}
    shutil.copy(trained / "run" / "config.toml", tmp_path)
    assert usual_shares(str(tmp_path), digest, HAM10000) == {}
    assert "drift" not in caplog.text
    shutil.copy(trained / "run" / "history.jsonl", tmp_path)
    (tmp_path / "config.toml").write_text("[train]\nof_another_version = 1\n")
    assert usual_shares(str(tmp_path), digest, HAM10000) == {}
    assert "drift is not measured: " in caplog.text


def test_a_rule_that_has_no_effect_on_scores_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for rule in ("stored", "probability"):
        warn_of_rule(str(tmp_path), "digest", DecisionRule(rule=rule))
    assert not caplog.text
    warn_of_rule(str(tmp_path), "digest", DecisionRule(rule="balanced_accuracy"))
    assert "decision.rule = balanced_accuracy has no effect on scores" in caplog.text
    (tmp_path / "labels.json").write_text(json.dumps({"classes": HAM10000.codes}))
    RunFolder(str(tmp_path)).write_decision(
        Decision(
            asked=DecisionRule(rule="accuracy"),
            weights=dict.fromkeys(HAM10000.codes, 1.0),
            model="digest",
            validation={},
        )
    )
    caplog.clear()
    warn_of_rule(str(tmp_path), "digest", DecisionRule(rule="accuracy"))
    assert not caplog.text
    warn_of_rule(str(tmp_path), "digest", DecisionRule(rule="sensitivity", sensitivity=0.95))
    assert "decision.rule = sensitivity (0.95) has no effect on scores" in caplog.text
    assert "decides by the rule accuracy" in caplog.text


def test_what_waits_comes_first_or_is_dropped_where_that_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ledger = ScoreLedger(ScoreFolder(str(tmp_path)))
    Job.list(ledger, {False: range(4)}, 1)
    _look_at_waiting(ledger, drop=False)
    assert "4 images were listed by a job that was interrupted: they come first" in caplog.text
    assert ledger.waiting == 4
    _look_at_waiting(ledger, drop=True)
    assert "4 images that an interrupted job had listed are dropped" in caplog.text
    assert ledger.waiting == 0


def test_drift_is_told_with_both_shares(caplog: pytest.LogCaptureFixture) -> None:
    summary = Summary(
        *("scores", "model", "finished"),
        inputs=100,
        scored=100,
        predicted={"nv": 45, "mel": 40, "bkl": 15},
        rejects={},
        drift={"nv": -0.24, "mel": 0.2, "bkl": 0.04},
        new=100,
        changed=0,
        images_per_second=1.0,
    )
    with caplog.at_level(logging.WARNING):
        log_summary(summary)
    assert "nv is predicted for 45 % of these images, and for 69 % of the validation" in caplog.text


def test_every_input_is_a_score_or_a_reject(scored: Path) -> None:
    scores, rejects = pq.read_table(scored / "scores"), pq.read_table(scored / "rejects")
    assert (scores.num_rows, rejects.num_rows) == (150, 4)
    assert scores.schema.names == scores_schema(HAM10000).names
    assert scores.schema.types == scores_schema(HAM10000).types
    assert rejects.schema.names == REJECTS.names
    reasons = {row["image_id"]: row["reason"] for row in rejects.to_pylist()}
    assert reasons == {"a": "empty", "b": "unreadable", "c": "truncated", "no": "unreadable"}


def test_probabilities_are_the_model_s_for_this_very_image(trained: Path, scored: Path) -> None:
    predict = Predictor.of_run(str(trained / "run")).load(threads=0)
    rows = {
        row["source"].rpartition("/")[2]: row
        for row in pq.read_table(scored / "scores").to_pylist()
    }
    names = {0: "IMG_000.jpg", 49: "IMG_049.jpg", 50: "IMG_050.jpg", 149: "IMG_148.jpg#2"}
    for number, name in names.items():
        pixels = decode_rgb(jpeg((number, 90, 200 - number)), max_pixels=10**6)
        expected = predict(pixels[None])[0]
        row = rows[name]
        found = [
            row[column]
            for column in scores_schema(HAM10000).names
            if column.startswith("probability_")
        ]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert (
            row["predicted"]
            == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")[int(np.argmax(expected))]
        )


def test_the_summary_adds_up(scored: Path) -> None:
    summary = json.loads((scored / "summary.json").read_text())
    assert summary["inputs"] == 154
    assert summary["scored"] == sum(summary["predicted"].values()) == 150
    assert summary["rejects"] == {"empty": 1, "truncated": 1, "unreadable": 2}
    assert summary["new"] == 154
    assert len(summary["drift"]) == 7
    assert abs(sum(summary["drift"].values())) < 1e-3
    assert scored.name == summary["model"][:12]
    assert {path.name for path in scored.iterdir()} == {
        *("listing", "manifests", "scores", "rejects", "summary.json")
    }


def test_the_documented_exact_view_is_that_of_the_folder(scored: Path) -> None:
    names: dict[str, Any] = {}
    exec(
        example("docs/how-to/read-scores.md", "read_scores").replace(
            "scores/3f9c2a71d0be", str(scored)
        ),
        names,
    )
    assert names["scores"].equals(pq.read_table(scored / "scores"))
    assert [Path(file).parent for file in names["files"]] == [scored / "scores"]
    assert names["read_rejects"](str(scored)).num_rows == 4


@pytest.fixture
def archive(tmp_path: Path) -> Scoring:
    return Scoring(tmp_path)


def rows_of(path: str) -> dict[str, tuple[object, ...]]:
    """image_id → its probabilities; each image once."""
    rows = pq.read_table(f"{path}/scores").to_pylist()
    assert len({row["source"] for row in rows}) == len(rows)
    names = [name for name in scores_schema(HAM10000).names if name.startswith("probability_")]
    return {row["image_id"]: tuple(row[name] for name in names) for row in rows}


def test_only_what_is_new_or_changed_is_scored_again(archive: Scoring) -> None:
    archive.write(*range(10))
    (archive.folder / "broken.jpg").write_bytes(b"broken")
    first = archive.score("score.micro_batch_images=4")
    assert (first.new, first.inputs, first.scored) == (11, 11, 10)
    before = rows_of(first.path)

    again = archive.score()
    assert (again.new, again.inputs, again.scored) == (0, 11, 10)

    archive.write(10, 11)
    archive.write(3, shade=250)
    (archive.folder / "broken.jpg").write_bytes(jpeg((1, 2, 3)))
    grown = archive.score("score.micro_batch_images=4")
    assert (grown.new, grown.changed, grown.inputs, grown.scored) == (4, 2, 13, 13)
    assert grown.rejects == {}
    after = rows_of(grown.path)
    assert {name for name in before if after[name] != before[name]} == {"IMG_003"}
    assert after.keys() - before.keys() == {"IMG_010", "IMG_011", "broken"}


def test_a_limit_leaves_the_rest_for_the_next_job(archive: Scoring) -> None:
    archive.write(*range(5))
    assert archive.score("score.limit=3").scored == 3
    assert archive.score().scored == 5


def test_another_model_s_scores_are_beside_the_first_one_s(archive: Scoring) -> None:
    archive.write(1, 2)
    first = archive.score()
    two_classes = Taxonomy(codes=("dark", "bright"), majority="dark", screened="")
    second = archive.score(model=Brightness("c" * 64, two_classes))
    assert Path(first.path).parent == Path(second.path).parent
    assert (first.scored, second.scored) == (2, 2)
    assert set(second.predicted) <= {"dark", "bright"}


def test_too_many_rejects_fail_the_job_after_all_was_written(archive: Scoring) -> None:
    archive.write(1, 2, 3)
    (archive.folder / "no.jpg").write_bytes(b"no")
    summary = archive.score()
    assert summary.scored == 3
    with pytest.raises(QualityError, match=r"1 of 4 inputs were .*max_reject_fraction = 0\.2"):
        check_rejects(summary, 0.2)
    check_rejects(summary, 0.25)


def test_exports_are_one_file(archive: Scoring, caplog: pytest.LogCaptureFixture) -> None:
    archive.write(2, 1)
    folder = Path(archive.score("score.format=isic").path)
    lines = (folder / "isic.csv").read_text().splitlines()
    assert lines[0] == "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    assert [line.split(",")[0] for line in lines[1:]] == ["IMG_001", "IMG_002"]
    assert sum(map(float, lines[1].split(",")[1:])) == pytest.approx(1, abs=1e-5)
    archive.score("score.format=csv")
    assert len((folder / "scores.csv").read_text().splitlines()) == 3
    archive.write(3)
    archive.score()
    assert "isic.csv has the scores before this job; --format isic writes it anew" in caplog.text


@pytest.mark.usefixtures("own_session")
def test_storage_that_only_hadoop_reaches_is_read_by_spark(
    archive: Scoring, tmp_path: Path
) -> None:
    """viewfs: is a scheme of Hadoop's own, here a name for the archive's folder."""
    archive.write(*range(5))
    (archive.folder / "no.jpg").write_bytes(b"no")
    link = "spark.conf.spark.hadoop.fs.viewfs.mounttable.clinic.link./images"
    config = pipeline_config(
        tmp_path,
        "score.archive=viewfs://clinic/images",
        *(f"score.output={tmp_path / 'by spark'}", f"{link}={archive.folder.as_uri()}"),
    )
    by_spark = score_by(BRIGHTNESS, config, QUIET)
    assert (by_spark.scored, by_spark.rejects) == (5, {"unreadable": 1})
    assert rows_of(by_spark.path) == rows_of(archive.score().path)
    (archive.folder / "IMG_007.jpg").write_bytes(jpeg((7, 7, 7)))
    assert score_by(BRIGHTNESS, config, QUIET).new == 1
    directly = (f"score.archive={archive.folder}", f"score.output={tmp_path / 'by spark'}")
    with pytest.raises(UsageError, match=r"listed by spark.*all would be scored twice"):
        score_by(BRIGHTNESS, pipeline_config(tmp_path, *directly), QUIET)


def test_a_limit_holds_where_an_archive_is_rewritten_meanwhile(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path, decode=moved)
    scoring.write(*range(5))
    summary = scoring.score("score.limit=2")
    assert (summary.inputs, summary.rejects) == (2, {"changed": 2})
    summary = scoring.score()
    assert (summary.inputs, summary.rejects) == (5, {"changed": 5})
    assert (summary.new, summary.changed) == (5, 2)  # though each was listed three times
