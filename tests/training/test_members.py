"""A model of several networks: each learns alone, and their mean is what it predicts."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.errors import RunError
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.run_folder import Labels, RunFolder
from skinclf.training.batches import DRAWS, Batch
from skinclf.training.embedding import Embedding
from skinclf.training.networks import build_network, members_of
from skinclf.training.optimizers import make_optimizer
from skinclf.training.predictor import Predictor
from skinclf.training.shards import Images
from skinclf.training.sums import Sums
from skinclf.training.trainer import Trainer, trainer_of

IMAGE = ImageSpec(height=24, width=32)
CONFIG = TrainConfig(global_batch_size=12, dropout=0.5, logit_adjustment=0.5, precision="float64")
COUNTS = np.array([5, 5, 5, 5, 5, 50, 5])
RANDOM = np.random.default_rng(1)


def network(members: int, name: str = "tiny", precision: str = "float64") -> keras.Model:
    config = ModelConfig(name=name, members=members)
    return build_network(config, IMAGE, 7, dropout=0.5, precision=precision)


def trainer(model: keras.Model) -> Trainer:
    optimizer = make_optimizer(CONFIG, steps=1)
    return trainer_of(tf.distribute.get_strategy(), model, optimizer, CONFIG, COUNTS)


def pixels(count: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, *IMAGE.shape), np.uint8)


def batch() -> Batch:
    labels = RANDOM.integers(0, 7, 12, np.int32)
    seeds = RANDOM.integers(2**31, size=(12, 2), dtype=np.int32)
    return Batch(pixels(12), labels, np.zeros((12, len(DRAWS)), np.float32), seeds)


def test_each_member_learns_what_it_would_learn_alone() -> None:
    both = network(members=2)
    members = members_of(both)
    alone = [network(members=1) for _ in members]
    for one, member in zip(alone, members, strict=True):
        one.set_weights(member.get_weights())
    begun = [one.get_weights()[0] for one in alone]
    assert np.abs(begun[0] - begun[1]).max() > 0.01  # they start from other weights
    batches = [batch() for _ in range(3)]
    together, trainers = trainer(both), [trainer(one) for one in alone]
    for each in batches:
        together.train_step(each)
        for number, other in enumerate(trainers):
            other.train_step(replace(each, seeds=each.seeds + number))
    for one, member, start in zip(alone, members, begun, strict=True):
        assert np.abs(one.get_weights()[0] - start).max() > 1e-3
        for expected, found in zip(one.get_weights(), member.get_weights(), strict=True):
            assert found == pytest.approx(expected, abs=1e-12)


def test_losses_and_metrics_are_of_the_mean_of_the_members() -> None:
    model = network(members=3)
    images = Images(pixels(20), RANDOM.integers(0, 7, 20, np.int32))
    expected = np.mean([each(images.pixels).numpy() for each in members_of(model)], axis=0)
    assert model(images.pixels).numpy() == pytest.approx(expected)
    found = Sums(trainer(model).test_step(images).numpy()).metrics()
    right = expected[np.arange(20), images.labels]
    assert found["loss"] == pytest.approx(-np.log(right).mean())
    assert found["accuracy"] == np.mean(expected.argmax(axis=1) == images.labels)


def test_a_saved_model_of_members_is_read_in_any_precision_and_embeds_by_all(
    tmp_path: Path,
) -> None:
    model = network(members=2, name="compact", precision="float32")
    model.save(tmp_path / "model.keras")
    (tmp_path / "config.toml").write_text('[model]\nname = "compact"\nmembers = 2\n')
    run = RunFolder(str(tmp_path))
    content = (tmp_path / "model.keras").read_bytes()
    run.write_model(content, Labels(HAM10000, IMAGE), model.count_params())
    images = pixels(4)
    for precision, tolerance in (("float32", 1e-6), ("bfloat16", 0.02)):
        predictor = Predictor.of_run(run.path, precision)
        assert predictor.load(1)(images) == pytest.approx(model(images).numpy(), abs=tolerance)
    assert Embedding(run.path, predictor.digest).load(1)(images).shape == (4, 2 * 256)
    run.write_model(content, Labels(HAM10000, ImageSpec(height=30, width=40)), 0)
    with pytest.raises(RunError, match="not what its labels"):
        Predictor.of_run(run.path)
