import inspect
import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.errors import TrainingError
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.attempt import begin_attempt
from skinclf.storage.checkpoint_folder import CheckpointFolder, checkpoint_names
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import RunFolder
from skinclf.training.job import TrainingJob, WorkerContext
from skinclf.training.loop import Worker, save, start_of_epoch, train, write_curves
from skinclf.training.optimizers import make_optimizer
from skinclf.training.predictor import Predictor
from skinclf.training.sums import Sums, no_sums
from skinclf.training.trainer import make_trainer
from tests.support.datasets import MakeDataset
from tests.support.ports import free_ports
from tests.support.teachers import run_that_favors

WORKER = """
import json, os, signal, sys
from skinclf.training import import_tensorflow
import_tensorflow()
from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import RunFolder
from skinclf.training.job import TrainingJob, WorkerContext
from skinclf.training.loop import train
from skinclf.training.predictor import Predictor
dataset, run, teacher, network, precision, index, addresses, resume, killed_at = sys.argv[1:]
config = TrainConfig(
    precision=precision, dropout=0.5, epochs=2, global_batch_size=32, shuffle_window=16,
    checkpoint_minutes=1e-9,
    augment={"flip": True, "rotate": "quarter", "shift": 0.05, "brightness": 0.1},
)
def report(doing, epoch=0, step=0, **_):
    if f"{epoch}-{step}" == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
context = WorkerContext(int(index), tuple(filter(None, addresses.split(","))), threads=1)
model = ModelConfig(name=network)
teachers = (Predictor.of_run(teacher, precision),) if teacher else ()
job = TrainingJob(Dataset.read(dataset), RunFolder(run), model, config, "test", resume, teachers)
train(job, context, report)
"""


def run_workers(
    workers: int,
    dataset: Path,
    run: Path,
    resume: str = "",
    killed_at: str = "",
    network: str = "benbrahim2020",
    precision: str = "float64",
    taught: bool = True,
) -> list[int]:
    """Exit statuses of a training by real workers, each a process, which are all killed when they
    report the step `killed_at` (EPOCH-STEP). `taught`: they learn from a teacher, too.
    """
    teacher = run_that_favors(3, Dataset.read(str(dataset)), str(run / "teacher")) if taught else ""
    ports = free_ports(workers) if workers > 1 else []
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
    more = [addresses, resume, killed_at]
    folders = [str(dataset), str(run), str(teacher)]
    command = [sys.executable, "-c", WORKER, *folders, network, precision]
    processes = [subprocess.Popen([*command, str(n), *more]) for n in range(workers)]
    return [process.wait(timeout=240) for process in processes]


def learned(run: Path) -> tuple[list[float], np.ndarray]:
    """The losses and the weights of a finished training of two epochs."""
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    with np.load(run / "checkpoints" / "epoch-0002-test.npz") as checkpoint:
        kept = [checkpoint[name].ravel() for name in sorted(checkpoint) if "model" in name]
    losses = [row[name] for row in rows for name in ("loss", "val_loss", "balanced_accuracy")]
    return losses, np.concatenate(kept)


@pytest.fixture(scope="module")
def one_worker(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one worker that nothing happened to."""
    run = tmp_path_factory.mktemp("one")
    begin_attempt(str(run), "test")
    assert run_workers(1, prepared / "dataset", run) == [0]
    return run


def assert_same_but_for_the_order_of_adding(run: Path, alone: Path) -> None:
    """Sums of gradients are rounded in another order: some 1e-16 of their size, which Adam's
    division and eight steps make some 1e-10 at most. In float32 the same noise starts at 1e-7,
    which is why tests in float32 can only ask for 1e-3.
    """
    (losses, weights), (their_losses, their_weights) = learned(run), learned(alone)
    assert losses == pytest.approx(their_losses, rel=1e-9)
    assert np.abs(weights - their_weights).max() < 1e-8


@pytest.mark.faults
@pytest.mark.parametrize("workers", [2, 4])
def test_1_2_and_4_workers_learn_the_same_but_for_the_order_of_adding(
    prepared: Path, one_worker: Path, tmp_path: Path, workers: int
) -> None:
    """In float64, with augmentation and with dropout."""
    begin_attempt(str(tmp_path), "test")
    assert run_workers(workers, prepared / "dataset", tmp_path) == [0] * workers
    assert_same_but_for_the_order_of_adding(tmp_path, one_worker)


@pytest.mark.faults
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_workers_share_the_statistics_of_batch_normalization(
    prepared: Path, tmp_path: Path, precision: str
) -> None:
    """In float64 by Keras's layer, in float32 by fused kernels. One layer of these is compared more
    closely in test_normalization.py.
    """
    runs = [tmp_path / str(workers) for workers in (1, 2)]
    for workers, run in enumerate(runs, start=1):
        run.mkdir()
        begin_attempt(str(run), "test")
        statuses = run_workers(
            workers,
            prepared / "dataset",
            run,
            network="compact",
            precision=precision,
            taught=False,
        )
        assert statuses == [0] * workers
    if precision == "float64":
        assert_same_but_for_the_order_of_adding(runs[1], runs[0])
    else:
        (losses, _), (theirs, _) = map(learned, reversed(runs))
        assert losses[0] == pytest.approx(theirs[0], rel=3e-3)
        assert losses == pytest.approx(theirs, rel=5e-2)


@pytest.mark.faults
def test_a_killed_training_of_two_workers_goes_on_with_one(
    prepared: Path, one_worker: Path, tmp_path: Path
) -> None:
    """The cluster has lost a machine for good, in the middle of the second epoch."""
    begin_attempt(str(tmp_path), "test")
    statuses = run_workers(2, prepared / "dataset", tmp_path, killed_at="2-3")
    assert statuses[0] == -signal.SIGKILL
    assert statuses[1] != 0  # killed, or told by TensorFlow that its peer is
    reached = checkpoint_names(str(tmp_path))[-1]
    assert reached.place == (1, 2)
    assert run_workers(1, prepared / "dataset", tmp_path, resume=str(reached)) == [0]
    assert_same_but_for_the_order_of_adding(tmp_path, one_worker)


def test_the_private_hooks_of_tensorflow_are_where_they_were() -> None:
    """make_strategy leans on them; a TensorFlow that moves them has to fail here first."""
    from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
    from tensorflow.python.eager import context

    assert callable(context._reset_context)
    assert callable(context.context_safe)
    assert isinstance(context.context()._initialized, bool)
    parameters = inspect.signature(context.Context.configure_coordination_service).parameters
    assert parameters.keys() >= {
        *("service_type", "service_leader", "coordinated_jobs"),
        *("cluster_register_timeout_in_ms", "heartbeat_timeout_in_ms"),
    }
    assert CoordinatedJob(name="worker", num_tasks=2).num_tasks == 2


def test_a_cosine_schedule_warms_up_and_ends_at_nothing() -> None:
    config = TrainConfig(epochs=10, lr_schedule="cosine", warmup_epochs=2, learning_rate=0.01)
    optimizer = make_optimizer(config, steps=5)
    rates = [rate_at(optimizer, step) for step in (0, 5, 10, 30, 50)]
    assert rates == pytest.approx([0, 0.005, 0.01, 0.005, 0], abs=1e-7)
    plain = make_optimizer(TrainConfig(epochs=10, lr_schedule="cosine", learning_rate=0.01), 5)
    assert rate_at(plain, 0) == pytest.approx(0.01)


def rate_at(optimizer: keras.optimizers.Optimizer, step: int) -> float:
    optimizer.iterations.assign(step)
    return float(optimizer.learning_rate)


def test_adamw_leaves_biases_and_normalization_alone() -> None:
    optimizer = make_optimizer(TrainConfig(optimizer="adamw", weight_decay=0.1), steps=5)
    layers = [keras.layers.Dense(8, name="dense"), keras.layers.GroupNormalization(8)]
    for layer in layers:
        layer.build((None, 8))
    variables = [variable for layer in layers for variable in layer.trainable_variables]
    optimizer.build(variables)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert [variable.name for variable in variables] == ["kernel", "bias", "gamma", "beta"]
    for variable in variables:
        variable.assign(np.ones(variable.shape))
    optimizer.apply([np.zeros(variable.shape, np.float32) for variable in variables])
    decayed = [bool((variable.numpy() < 1).all()) for variable in variables]
    assert decayed == [True, False, False, False]


def silent(_doing: str, **_state: object) -> None:
    pass


@pytest.fixture
def job(make_dataset: MakeDataset, tmp_path: Path) -> TrainingJob:
    """An epoch of two steps, for this process alone."""
    dataset = make_dataset(shards=1, rows=8, group_rows=8)
    labels = np.arange(8) % 7
    file = Path(dataset.path) / "shard-0.parquet"
    pq.write_table(pq.read_table(file).set_column(0, "label", [labels.astype(np.int32)]), file)
    config = TrainConfig(epochs=1, global_batch_size=4)
    run = str(tmp_path / "run")
    begin_attempt(run, "test")
    return TrainingJob(dataset, RunFolder(run), ModelConfig(name="tiny"), config, "test")


def test_a_training_leaves_nothing_in_the_temporary_folder(
    job: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    train(job, WorkerContext(), silent)
    assert Path(job.run.model).exists()
    assert list(temporary.iterdir()) == []


def test_a_network_learns_what_its_teacher_says(job: TrainingJob, tmp_path: Path) -> None:
    """With all of the loss; each label occurs as often as the others."""
    teacher = run_that_favors(3, job.dataset, str(tmp_path / "teacher"))
    teachers = (Predictor.of_run(str(teacher)),)
    config = job.config.model_copy(
        update={"teacher_weight": 1.0, "learning_rate": 0.1, "epochs": 20, "dropout": 0.0}
    )
    job = replace(job, config=config, teachers=teachers)
    train(job, WorkerContext(), silent)
    pixels = np.random.default_rng(1).integers(0, 256, (4, *job.dataset.image.shape), np.uint8)
    learned = Predictor.of_run(str(job.run)).load(1)(pixels)
    assert learned.argmax(axis=1).tolist() == [3] * 4
    assert learned == pytest.approx(teachers[0].load(1)(pixels), abs=0.1)


def test_the_shares_predicted_on_validation_stand_in_the_history() -> None:
    taxonomy = Taxonomy(codes=("a", "b", "c"), majority="a", screened="")
    there, predicted, right = [0, 4, 0], [0, 1, 3], [0, 1, 0]
    sums = Sums(np.array([1.0, 1, 3, 4, *there, *predicted, *right]))
    shares = sums.predicted_shares(taxonomy)
    assert shares == {"predicted_a": 0, "predicted_b": 0.25, "predicted_c": 0.75}
    assert sums.metrics()["balanced_accuracy"] == 0.25
    assert no_sums(3).predicted_shares(taxonomy) == {}


def test_an_attempt_that_is_no_longer_the_current_one_leaves_the_history_alone(
    job: TrainingJob,
) -> None:
    history = [{"epoch": float(n), "loss": 1.0} for n in range(1, 7)]
    write_curves(job, history)
    begin_attempt(job.run.path, "other")
    with pytest.raises(TrainingError, match="another attempt"):
        write_curves(job, history[:4])
    assert len(job.run.read_history()) == 6


def test_weights_that_are_no_numbers_reach_no_checkpoint(job: TrainingJob) -> None:
    """After an epoch's last update no loss of another step would tell."""
    worker = Worker(job, WorkerContext(), silent)
    trainer = make_trainer(job, worker.context)
    folder = CheckpointFolder(job.run.path, job.attempt)
    weights = trainer.model.get_weights()
    trainer.model.set_weights([weights[0] * np.nan, *weights[1:]])
    with pytest.raises(TrainingError, match="epoch 1, step 0: a weight is no longer a finite"):
        save(trainer, worker, folder, start_of_epoch(job, [{"epoch": 1.0}]))
    assert checkpoint_names(job.run.path) == []
