"""The stages as functions, in the session that runs, and what IPython shows of their results."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.formatters import DisplayFormatter
from pyspark.sql import SparkSession

import skinclf
from skinclf.api import CrossValidated, Evaluated, Scored
from skinclf.errors import ConfigError, StorageUnavailable, UsageError
from skinclf.reporting.notebook import link_to
from skinclf.stages.score_summary import Summary
from tests.evaluation.drawn import drawn_cross_validation, drawn_predictions, evaluation_result
from tests.support.images import jpeg, write_zip
from tests.support.pipeline import pipeline_config


def shown(result: object) -> tuple[str, str]:
    """The words and the HTML that IPython makes of a cell's result."""
    data, _ = DisplayFormatter().format(result)
    return data["text/plain"], data["text/html"]


def test_the_stages_are_functions_and_their_results_show_themselves(
    spark: SparkSession, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    before = spark.conf.getAll
    archive = write_zip(tmp_path / "new.zip", {f"a{n}.jpg": jpeg((n, 9, 9)) for n in range(20)})
    rows = [f"L{n},a{n},{'mel' if n % 2 else 'nv'}" for n in range(19)]
    Path("rows.csv").write_text("\n".join(["lesion_id,image_id,dx", *rows]))
    settings = {"dataset.shards": 1, "split.seed": 1}
    new = skinclf.prepare(
        archive=[archive], metadata="rows.csv", output="new", settings=settings, quiet=True
    )
    words, html = shown(new)
    assert words.startswith(f"{tmp_path}/new: 19 tensors (train ")
    assert words.endswith(") and 1 reject (no_metadata 1) of 20 inputs")
    assert new.dataset.split.seed == 1
    assert ">nv</th>" in html
    assert ">no_metadata</td>" in html

    figures = skinclf.explore(dataset=new.path, quiet=True)
    assert shown(figures)[1].count("data:image/png") == 2
    assert 'href="new/exploration/exploration.html"' in shown(figures)[1]

    config = pipeline_config(Path())  # settings of the trained run, which is finished
    run = skinclf.train(config, dataset="dataset", quiet=True)
    words, html = shown(run)
    assert words.startswith(f"{Path('run').absolute()}: the model of epoch 2 of 2 (loss ")
    assert html.count("data:image/png") == 2
    assert len(run.predictor().taxonomy) == 7

    evaluated = skinclf.evaluate(config, settings={"evaluate.split": "val"}, quiet=True)
    words, html = shown(evaluated)
    assert "of val: top-1 accuracy " in words
    assert 'href="run/evaluation/val/report.html"' in html

    scored = skinclf.score(run="run", archive=archive, output="scores", quiet=True)
    words, html = shown(scored)
    assert words.endswith("20 scores and 0 rejects of 20 inputs, 20 of them new")
    assert scored.scores(["predicted"]).num_rows == 20
    assert scored.rejects().num_rows == 0
    assert f">{next(iter(scored.summary.predicted))}</td>" in html

    assert SparkSession.getActiveSession() is spark
    assert spark.conf.getAll == before


def test_metrics_stand_beside_the_confusion_and_a_leak_is_told() -> None:
    result = evaluation_result(drawn_predictions(60, 1))
    words, html = shown(Evaluated(result, "/elsewhere/report.html"))
    assert words.endswith("report: /elsewhere/report.html")
    assert "balanced accuracy" in html
    assert "always nv (majority class)" in html
    assert "<code>/elsewhere/report.html</code>" in html  # no notebook could open it
    assert html.count("data:image/png") == 1
    assert "too good" not in html
    leaky = result.model_copy(update={"leaks": result.leaks.model_copy(update={"images": 3})})
    assert "3 of these images share a lesion" in shown(Evaluated(leaky, "report.html"))[1]


def test_a_cross_validation_shows_its_folds() -> None:
    words, html = shown(CrossValidated(drawn_cross_validation(), "/elsewhere/page.html"))
    assert words.startswith("120 images of ")
    assert " lesions in 3 folds: top-1 accuracy " in words
    assert html.count(">fold ") == 3
    assert html.count("data:image/png") == 1


def test_names_from_outside_are_no_html() -> None:
    empty = Summary("<b>scores", "m", "", 1, 0, {}, {"<i>x": 1}, {}, 1, 0, 0.0)
    html = shown(Scored(empty))[1]
    assert "&lt;b&gt;scores" in html
    assert "&lt;i&gt;x" in html
    assert "<i>" not in html


def test_a_page_is_linked_where_a_notebook_can_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert link_to(str(tmp_path / "runs" / "report.html")) == "runs/report.html"
    assert link_to(str(tmp_path / "a#1" / "b?c 100%.html")) == "a%231/b%3Fc%20100%25.html"
    assert link_to(str(tmp_path / os.fsdecode(b"caf\xe9.html"))) == "caf%E9.html"
    assert link_to("/elsewhere/report.html") == ""
    assert link_to("s3://bucket/report.html") == ""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epochs": 3}, "'epochs' is no setting; expected is"),
        ({"train.epoch": 3}, r'settings\["train.epoch"\]: .*did you mean epochs'),
        ({"train.epochs": "many"}, r'settings\["train.epochs"\]: .*integer.*many'),
        ({"dataset.path": Path("nowhere")}, "nowhere: no dataset.json"),
    ],
)
def test_a_wrong_setting_is_named_as_it_was_given(settings: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        skinclf.train(settings=settings)


def test_arguments_of_a_wrong_kind_are_told() -> None:
    with pytest.raises(ConfigError, match=r"settings: .* is expected.*got None"):
        skinclf.train(settings=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"config: a TOML file.*settings= takes a dict"):
        skinclf.prepare({"archive.paths": "a.zip"})  # type: ignore[arg-type]


def test_an_argument_wins_and_is_called_like_its_setting() -> None:
    with pytest.raises(ConfigError, match=r"^archive\.paths: .*at least 1 character"):
        skinclf.prepare(archive="", settings={"archive.paths": "a.zip"})


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import skinclf; "
        "print(*(name.partition('.')[0] for name in set(sys.modules) - before)); "
        "assert 'train' in dir(skinclf); skinclf.train; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    alone, called = done.stdout.splitlines()
    assert set(alone.split()) - sys.stdlib_module_names == {"skinclf"}
    assert not {"tensorflow", "keras", "pyspark", "numpy"} & set(called.split())


def test_a_name_that_is_not_there_is_told_as_usual() -> None:
    with pytest.raises(AttributeError, match="module 'skinclf' has no attribute 'fit'"):
        skinclf.fit  # noqa: B018


def test_storage_that_is_away_is_an_error_of_skinclf(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def away(*_: object) -> None:
        raise OSError("When reading: AWS Error NETWORK_CONNECTION during HeadObject operation")

    monkeypatch.setattr("skinclf.stages.explore.explore", away)
    with pytest.raises(StorageUnavailable, match=r"the storage fails: .*NETWORK_CONNECTION"):
        skinclf.explore(dataset=tmp_path, quiet=True)
