import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from skinclf.errors import UsageError
from skinclf.image import decode_rgb
from skinclf.learn.predictor import Predictor
from skinclf.schemas import REJECTS, SCORES
from skinclf.stages.score import score
from tests.conftest import jpeg, road_config, write_zip

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def scored(trained: Path) -> Path:
    """A folder and a zip, without metadata, scored: 150 sound images and four that are not."""
    archive = trained / "to score"
    archive.mkdir()
    sound = {f"IMG_{n:03}.jpg": jpeg((n, 90, 200 - n)) for n in range(150)}
    for name in list(sound)[:50]:
        (archive / name).write_bytes(sound[name])
    broken = {"a.jpg": b"", "b.jpg": b"nothing", "c.jpg": sound["IMG_100.jpg"][:150]}
    write_zip(archive / "ü.zip", {n: sound[n] for n in list(sound)[50:]} | broken)
    (archive / "no.zip").write_bytes(b"not a zip")
    score(road_config(trained, f"score.paths={archive}"), QUIET)
    return trained / "scores"


def test_every_input_is_a_score_or_a_reject(scored: Path) -> None:
    scores, rejects = pq.read_table(scored / "scores"), pq.read_table(scored / "rejects")
    assert (scores.num_rows, rejects.num_rows) == (150, 4)
    assert (scores.schema.names, scores.schema.types) == (SCORES.names, SCORES.types)
    assert rejects.schema.names == REJECTS.names
    reasons = {row["image_id"]: row["reason"] for row in rejects.to_pylist()}
    assert reasons == {"a": "empty", "b": "unreadable", "c": "truncated", "no": "unreadable"}


def test_probabilities_are_the_model_s_for_this_very_image(trained: Path, scored: Path) -> None:
    predict = Predictor.of_run(str(trained / "run")).load(threads=0)
    rows = {row["image_id"]: row for row in pq.read_table(scored / "scores").to_pylist()}
    for number in (0, 49, 50, 149):
        pixels = decode_rgb(jpeg((number, 90, 200 - number)), max_pixels=10**6)
        expected = predict(pixels[None])[0]
        row = rows[f"IMG_{number:03}"]
        found = [row[name] for name in SCORES.names if name.startswith("probability_")]
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
    assert not (scored / "staging").exists()


def test_finished_scores_are_not_written_over_unless_allowed(trained: Path, scored: Path) -> None:
    config = road_config(trained, f"score.paths={trained / 'to score'}")
    with pytest.raises(UsageError, match=r"score\.overwrite=true"):
        score(config, QUIET)
