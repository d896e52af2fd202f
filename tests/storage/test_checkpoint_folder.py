from pathlib import Path

import pytest

from skinclf.config.schema import TrainConfig
from skinclf.errors import TrainingError
from skinclf.storage import attempt
from skinclf.storage import files as storage
from skinclf.storage.attempt import begin_attempt
from skinclf.storage.checkpoint_folder import CheckpointFolder, CheckpointName, checkpoint_names
from skinclf.storage.history import Epoch

KEEP_ONE = TrainConfig(keep_checkpoints=1)


@pytest.fixture
def run(tmp_path: Path) -> str:
    begin_attempt(str(tmp_path), "a")
    return str(tmp_path)


def history(epochs: int, best: int = 1) -> list[Epoch]:
    return [{"epoch": n, "val_loss": float(n != best)} for n in range(1, epochs + 1)]


def names(run: str) -> list[str]:
    return [str(name) for name in checkpoint_names(run)]


def test_the_last_epochs_and_the_best_are_kept(run: str) -> None:
    folder = CheckpointFolder(run, "a")
    for epochs in (1, 2, 3, 4):
        folder.write(b"", history(epochs, best=2), 0, KEEP_ONE)
    assert names(run) == ["epoch-0002-a.npz", "epoch-0004-a.npz"]


def test_within_an_epoch_the_last_is_kept(run: str) -> None:
    folder = CheckpointFolder(run, "a")
    folder.write(b"", history(1), 0, KEEP_ONE)
    folder.write(b"", history(1), 20, KEEP_ONE)
    folder.write(b"", history(1), 40, KEEP_ONE)
    assert names(run) == ["epoch-0001-a.npz", "epoch-0001-step-000040-a.npz"]
    folder.write(b"", history(2), 0, KEEP_ONE)
    assert names(run) == ["epoch-0001-a.npz", "epoch-0002-a.npz"]


def test_a_new_attempt_replaces_what_it_found(run: str) -> None:
    CheckpointFolder(run, "a").write(b"", history(2, best=1), 0, KEEP_ONE)
    begin_attempt(run, "b")
    folder = CheckpointFolder(run, "b")
    folder.write(b"", history(3, best=3), 0, KEEP_ONE)
    assert names(run) == ["epoch-0003-b.npz"]


def test_a_frozen_attempt_that_comes_back_deletes_nothing(
    run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands still while its checkpoint is written, and another attempt goes on meanwhile."""
    frozen = CheckpointFolder(run, "a")
    frozen.write(b"", history(3, best=3), 0, KEEP_ONE)

    def write_late(path: str, content: bytes) -> None:
        begin_attempt(run, "b")
        other = CheckpointFolder(run, "b")
        with monkeypatch.context() as patch:
            patch.setattr("skinclf.storage.checkpoint_folder.write_bytes", storage.write_bytes)
            for epochs in (5, 6):
                other.write(b"", history(epochs, best=5), 0, KEEP_ONE)
        storage.write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("skinclf.storage.checkpoint_folder.write_bytes", write_late)
        with pytest.raises(TrainingError, match="another attempt"):
            frozen.write(b"", history(4, best=3), 0, KEEP_ONE)
    assert names(run) == ["epoch-0004-a.npz", "epoch-0005-b.npz", "epoch-0006-b.npz"]


def test_a_frozen_attempt_that_checks_in_time_still_deletes_no_later_checkpoint(
    run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen between its last look at attempt.json and the deletion."""
    frozen = CheckpointFolder(run, "a")
    begin_attempt(run, "b")
    other = CheckpointFolder(run, "b")
    for epochs in (2, 3):
        other.write(b"", history(epochs, best=2), 0, KEEP_ONE)
    monkeypatch.setattr("skinclf.storage.checkpoint_folder.check_attempt", lambda *_: None)
    frozen.write(b"", history(4, best=4), 0, KEEP_ONE)
    assert names(run) == ["epoch-0002-b.npz", "epoch-0003-b.npz", "epoch-0004-a.npz"]


def test_names_say_epoch_step_and_attempt(run: str) -> None:
    for name in ("epoch-0002.npz", "epoch-0002-step-000010-b1.npz", "epoch-0010-a.npz.tmp-0"):
        (Path(run) / "checkpoints").mkdir(exist_ok=True)
        (Path(run) / "checkpoints" / name).touch()
    assert checkpoint_names(run) == [CheckpointName(2, 0, ""), CheckpointName(2, 10, "b1")]
    assert attempt.current_attempt(run) == "a"
