import errno
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from skinclf.config.loader import load_config
from skinclf.errors import ConfigError, DatasetError, RunError, TrainingError
from skinclf.spec.taxonomy import HAM10000
from skinclf.stages.train import train
from skinclf.storage.checkpoint_folder import CheckpointFolder, checkpoint_names
from skinclf.storage.run_folder import RunFolder
from skinclf.training.networks.benbrahim2020 import PARAMETERS
from skinclf.training.predictor import Predictor
from tests.support.datasets import dataset_of
from tests.support.pipeline import pipeline_config, weights

QUIET = Console(quiet=True)


def checkpoint(run: Path, epoch: int) -> Path:
    """The checkpoint at the end of an epoch, whichever attempt wrote it."""
    (name,) = (name for name in checkpoint_names(str(run)) if name.place == (epoch, 0))
    return run / "checkpoints" / str(name)


def test_one_slot_in_the_driver_leaves_a_whole_run_folder(trained: Path) -> None:
    run = trained / "run"
    names = {path.name for path in run.iterdir()}
    assert names >= {"config.toml", "history.jsonl", "labels.json", "model.keras", "figures"}
    assert {path.name for path in (run / "figures").iterdir()} == {"accuracy.png", "loss.png"}
    labels = json.loads((run / "labels.json").read_text())
    assert labels["classes"] == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    assert labels["input"]["shape"] == [75, 100, 3]
    assert len(weights(run)) == PARAMETERS


def test_the_history_has_one_line_an_epoch(trained: Path) -> None:
    history = RunFolder(str(trained / "run")).read_history()
    assert [row["epoch"] for row in history] == [1, 2]
    for row in history:
        assert 0 <= row["val_balanced_accuracy"] <= 1
        assert row["val_accuracy"] <= row["val_binary_accuracy"] <= 1
        assert row["images_per_second"] > 0
    assert history[1]["loss"] < history[0]["loss"]


def test_a_model_that_another_start_finished_meanwhile_stays(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of two that wait for one slot. Written again, it would have another digest, and no scores."""
    run = shutil.copytree(trained / "run", tmp_path / "run")
    caplog.set_level("INFO", "skinclf")
    (run / "model.keras").rename(tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    monkeypatch.setattr(
        "skinclf.stages.train._look_first",
        lambda *_: (tmp_path / "model.keras").rename(run / "model.keras"),
    )
    assert len(train(pipeline_config(trained, f"run.path={run}"), QUIET)) == 2
    assert (run / "model.keras").read_bytes() == content
    assert "is finished" in caplog.text
    assert "wrote the model" not in caplog.text


@pytest.mark.usefixtures("own_session")
def test_two_slots_in_spark_tasks_learn_what_one_slot_learns(trained: Path, tmp_path: Path) -> None:
    """The same global batches, so the same sums of gradients but for the order of adding.

    float32 rounds these sums to some 1e-7 of their size. Adam divides by that size, so where a
    gradient is all but zero rounding can turn a step of 1e-3 round: in 8 steps by at most 16e-3,
    in a few weights out of 788,551. Standard deviations seen: 6e-6 with AVX-512, 1.1e-4 without;
    other batches would give some 3e-3. In float64: tests/training/test_loop.py.
    """
    run = tmp_path / "run"
    printed = io.StringIO()
    config = pipeline_config(trained, f"run.path={run}", "train.slots=2", "train.local_mode=false")
    history = train(config, Console(file=printed, soft_wrap=True))
    alone = RunFolder(str(trained / "run")).read_history()
    for ours, theirs in zip(history, alone, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-3)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=1e-3)
    difference = weights(run) - weights(trained / "run")
    assert difference.std() < 5e-4
    assert np.abs(difference).max() < 8 * 2 * 1e-3
    lines = [
        line
        for line in printed.getvalue().splitlines()
        if line.startswith("epoch") and " step " not in line  # of which a slow machine prints some
    ]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert "images/s" in lines[0]
    assert "val_accuracy" in lines[0]


def test_a_finished_run_is_left_as_it_is(trained: Path) -> None:
    before = (trained / "run" / "model.keras").stat().st_mtime_ns
    assert len(train(pipeline_config(trained), QUIET)) == 2
    assert (trained / "run" / "model.keras").stat().st_mtime_ns == before


def test_a_run_keeps_the_models_that_it_learns_from(trained: Path, tmp_path: Path) -> None:
    """It goes on with its own copy, whatever becomes of the teacher's folder."""
    teacher = tmp_path / "teacher"
    shutil.copytree(trained / "run", teacher)
    settings = [f"run.path={tmp_path / 'run'}", "train.epochs=1", "model.name=tiny"]
    config = pipeline_config(trained, *settings, f'train.teachers=["{teacher}"]')
    train(config, QUIET)
    kept = tmp_path / "run" / "teachers" / "0"
    assert (kept / "model.keras").read_bytes() == (teacher / "model.keras").read_bytes()
    shutil.rmtree(teacher)
    (tmp_path / "run" / "model.keras").unlink()
    train(config, QUIET)
    assert "teachers" in (tmp_path / "run" / "model_card.md").read_text()


def test_a_teacher_that_knows_other_images_is_refused(trained: Path, tmp_path: Path) -> None:
    """It may have been trained on images that the network is tested on."""
    teacher = tmp_path / "teacher"
    shutil.copytree(trained / "run", teacher)
    manifest = json.loads((teacher / "dataset.json").read_text())
    (teacher / "dataset.json").write_text(json.dumps(manifest | {"created": "2026-01-01"}))
    settings = [f"run.path={tmp_path / 'run'}", f'train.teachers=["{teacher}"]']
    with pytest.raises(ConfigError, match="teacher has to be trained on the same one"):
        train(pipeline_config(trained, *settings), QUIET)
    (teacher / "labels.json").unlink()
    with pytest.raises(ConfigError, match=r"teacher is not whole: .*labels\.json"):
        train(pipeline_config(trained, *settings), QUIET)
    assert not (tmp_path / "run").exists()


def test_without_tensorflow_a_training_in_the_driver_is_refused_before_spark_starts(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinclf.training.find_spec", lambda _: None)
    monkeypatch.setattr("skinclf.stages.train.spark_session", lambda *_: pytest.fail("Spark"))
    with pytest.raises(ConfigError, match=r"tensorflow is not installed in .*: pip install"):
        train(pipeline_config(prepared, f"run.path={tmp_path / 'run'}"), QUIET)
    assert not (tmp_path / "run").exists()


def test_a_dataset_of_one_class_is_refused(tmp_path: Path) -> None:
    dataset = dataset_of([], 1, str(tmp_path))
    one_class = dataset.model_copy(update={"counts": {"train": {"mel": 0, "nv": 900}}})
    (tmp_path / "dataset.json").write_text(one_class.to_json())
    with pytest.raises(DatasetError, match="images are nv, so there is nothing to tell apart"):
        train(load_config(None, [f"dataset.path={tmp_path}"]), QUIET)


def test_another_config_than_the_run_s_own_is_refused_by_its_keys(trained: Path) -> None:
    with pytest.raises(RunError, match=r"train\.epochs = 3 but 2 in the run"):
        train(pipeline_config(trained, "train.epochs=3"), QUIET)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    trained: Path, tmp_path: Path
) -> None:
    """With dropout, too: its masks are a function of (seed, epoch, worker)."""
    settings = ("train.dropout=0.5", "train.epochs=3", "train.keep_checkpoints=3")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(pipeline_config(trained, f"run.path={whole}", *settings), QUIET)
    shutil.copytree(whole, broken)
    (broken / "model.keras").unlink()
    checkpoint(broken, 3).unlink()
    history = train(pipeline_config(trained, f"run.path={broken}", *settings), QUIET)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert np.array_equal(weights(broken), weights(whole))
    assert [name.place for name in checkpoint_names(str(trained / "run"))] == [(1, 0), (2, 0)]


def test_a_run_goes_on_in_the_middle_of_an_epoch(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, augmentation and a schedule: what the next step does follows from its place."""
    settings = (
        *("train.dropout=0.5", "train.checkpoint_minutes=0.00001"),
        *("train.optimizer=adamw", "train.lr_schedule=cosine", "train.warmup_epochs=1"),
        *("train.augment.flip=true", "train.augment.rotate=quarter", "train.augment.contrast=0.2"),
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(pipeline_config(trained, f"run.path={whole}", *settings), QUIET)

    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    config = pipeline_config(trained, f"run.path={broken}", *settings)
    with monkeypatch.context() as patch:
        patch.setattr("skinclf.training.loop.epoch_row", break_off)  # all steps, no epoch
        with pytest.raises(KeyboardInterrupt):
            train(config, QUIET)
    assert [name.place for name in checkpoint_names(str(broken))] == [(0, 2)]
    train(config, QUIET)
    assert np.array_equal(weights(broken), weights(whole))
    theirs, ours = RunFolder(str(whole)).read_history(), RunFolder(str(broken)).read_history()
    assert [row["loss"] for row in ours] == [row["loss"] for row in theirs]
    assert [name.place for name in checkpoint_names(str(broken))] == [(1, 0), (2, 0)]


def test_the_best_epoch_s_weights_are_taken_and_a_hopeless_training_stops(
    trained: Path, tmp_path: Path
) -> None:
    """At this rate no answer ever changes: the first of equal epochs is the best."""
    run = tmp_path / "run"
    settings = (
        *("train.epochs=9", "train.early_stopping_patience=2", "train.final_weights=best"),
        *("train.learning_rate=1e-9", "train.monitor=val_balanced_accuracy"),
    )
    history = train(pipeline_config(trained, f"run.path={run}", *settings), QUIET)
    assert len(history) == 3

    def kept(epoch: int) -> np.ndarray:
        with np.load(checkpoint(run, epoch)) as arrays:
            names = sorted(name for name in arrays if name.startswith("model"))
            return np.concatenate([arrays[name].ravel() for name in names])

    assert np.array_equal(weights(run), kept(1))
    assert not np.array_equal(weights(run), kept(3))


def test_tensorboard_reads_what_the_history_says(trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = RunFolder(str(trained / "run")).read_history()
    for curve, name in (("train", "loss"), ("validation", "val_loss")):
        events = EventAccumulator(str(trained / "run" / "tensorboard" / curve)).Reload()
        points = [(point.step, point.value) for point in events.Scalars("loss")]
        assert points == [(row["epoch"], pytest.approx(row[name])) for row in history]


def test_bfloat16_learns_what_float32_learns(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen by "auto", and kept where another machine would choose another precision."""
    run = tmp_path / "run"
    monkeypatch.setattr("skinclf.stages.train.has_bfloat16", lambda: True)
    config = pipeline_config(trained, f"run.path={run}", "train.precision=auto")
    history = train(config, QUIET)
    assert RunFolder(str(run)).read_config().train.precision == "bfloat16"
    monkeypatch.setattr("skinclf.stages.train.has_bfloat16", lambda: False)
    assert train(config, QUIET) == history
    for ours, theirs in zip(history, RunFolder(str(trained / "run")).read_history(), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.05)
    assert weights(run).dtype == np.float32


def test_a_balanced_training_expects_the_frequent_class_less_often(
    trained: Path, tmp_path: Path
) -> None:
    """Two of three images are nv. After these few steps both networks know little more."""
    run = tmp_path / "run"
    train(pipeline_config(trained, f"run.path={run}", "train.class_weighting=balanced"), QUIET)
    plain, balanced = (expected_share("nv", folder) for folder in (trained / "run", run))
    assert plain > 0.5
    assert balanced < 0.3


def expected_share(code: str, run: Path) -> float:
    """The mean probability of a class that a model gives for images of noise."""
    noise = np.random.default_rng(7).integers(0, 256, (64, 75, 100, 3), np.uint8)
    predictor = Predictor.of_run(str(run))
    return float(predictor.load(threads=0)(noise)[:, HAM10000.codes.index(code)].mean())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "train.slots=3 train.local_mode=false train.global_batch_size=36",
            "expected one of 1, 2, 4",
        ),
        ("train.teachers=RUN", "is the run itself"),
        ("train.teachers=nowhere", "nowhere holds no finished model: train it first"),
    ],
)
def test_what_can_t_be_trained_is_refused_before_anything_is_written(
    prepared: Path, tmp_path: Path, settings: str, message: str
) -> None:
    run = tmp_path / "run"
    words = settings.replace("RUN", str(run)).split()
    config = pipeline_config(prepared, f"run.path={run}", *words)
    with pytest.raises(ConfigError, match=message):
        train(config, QUIET)
    assert not run.exists()


def test_a_share_that_is_away_for_a_moment_costs_a_training_in_the_driver_a_restart(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, away = CheckpointFolder.write, [OSError(errno.EIO, "Input/output error")]

    def write_or_fail(self: CheckpointFolder, *arguments: Any) -> None:
        if away and checkpoint_names(str(run)):
            raise away.pop()
        write(self, *arguments)

    run = tmp_path / "run"
    monkeypatch.setattr(CheckpointFolder, "write", write_or_fail)
    history = train(pipeline_config(trained, f"run.path={run}", "model.name=tiny"), QUIET)
    assert ([epoch["epoch"] for epoch in history], away) == ([1, 2], [])
    (restart,) = map(json.loads, (run / "restarts.jsonl").read_text().splitlines())
    assert restart["checkpoint"].startswith("epoch-0001")
    assert "Input/output error" in restart["cause"]


@pytest.mark.usefixtures("own_session")
def test_a_loss_that_is_no_number_ends_training_with_its_cause(
    prepared: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = pipeline_config(
        prepared,
        f"run.path={run}",
        "train.learning_rate=1e30",
        "train.slots=2",
        "train.local_mode=false",
    )
    with pytest.raises(TrainingError, match=r"epoch \d, step \d: the loss is no longer a finite"):
        train(config, QUIET)
    assert not (run / "model.keras").exists()


def test_of_two_starts_at_once_one_folder_has_the_recipe_of_the_one_that_trains(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = tmp_path / "run", tmp_path / "other.toml"
    other.write_text((trained / "run" / "config.toml").read_text())

    @contextmanager
    def owned(*_: object) -> Iterator[None]:
        shutil.copy(other, run / "config.toml")  # by the other start, after this one's check
        yield

    monkeypatch.setattr("skinclf.stages.train.owned", owned)
    with pytest.raises(RunError, match=r"train\.seed = 77 but"):
        train(pipeline_config(trained, f"run.path={run}", "train.seed=77"), QUIET)
    assert not (run / "model.keras").exists()
