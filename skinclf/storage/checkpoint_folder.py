"""The checkpoints of a run: their names, and which are kept.

Each attempt to train writes names of its own, and deletes only what it found when it began or
wrote itself: a process that was frozen and comes back can't delete those of a later attempt.
"""

import re
from typing import NamedTuple

from skinclf.config.schema import TrainConfig
from skinclf.storage.attempt import check_attempt
from skinclf.storage.files import delete, join, list_names, read_bytes, write_bytes
from skinclf.storage.history import Epoch, best_epoch

CHECKPOINTS = "checkpoints"
NAME = re.compile(r"epoch-(\d+)(?:-step-(\d+))?(?:-([0-9a-z]+))?\.npz")


class CheckpointName(NamedTuple):
    """The state after `epoch` whole epochs and `step` steps of the next; ordered by training."""

    epoch: int
    step: int
    attempt: str  # that wrote it; "": a version of skinclf without attempts

    def __str__(self) -> str:
        step = f"-step-{self.step:06}" if self.step else ""
        attempt = f"-{self.attempt}" if self.attempt else ""
        return f"epoch-{self.epoch:04}{step}{attempt}.npz"

    @property
    def place(self) -> tuple[int, int]:
        """How far training was: (epoch, step)."""
        return self.epoch, self.step


def checkpoint_names(run: str) -> list[CheckpointName]:
    """The checkpoints that are there, in the order of training."""
    found = map(NAME.fullmatch, list_names(join(run, CHECKPOINTS)))
    return sorted(
        CheckpointName(int(match[1]), int(match[2] or 0), match[3] or "")
        for match in found
        if match
    )


def checkpoint_bytes(run: str, name: CheckpointName | str) -> bytes:
    """The content of a checkpoint."""
    return read_bytes(join(run, CHECKPOINTS, str(name)))


class CheckpointFolder:
    """The checkpoints as the chief of one attempt writes them."""

    def __init__(self, run: str, attempt: str) -> None:
        self._run, self._attempt = run, attempt
        self._known = set(checkpoint_names(run))

    def write(self, content: bytes, history: list[Epoch], step: int, config: TrainConfig) -> None:
        """Add the checkpoint of `step` steps after the last epoch; remove those not to be kept.

        Kept are the last few epochs', the best epoch's and, within an epoch, the last. Raises
        TrainingError where another attempt has begun.
        """
        check_attempt(self._run, self._attempt)
        written = CheckpointName(len(history), step, self._attempt)
        write_bytes(join(self._run, CHECKPOINTS, str(written)), content)
        check_attempt(self._run, self._attempt)  # it may have begun while this one wrote
        self._known.add(written)
        kept = {int(row["epoch"]) for row in history[-config.keep_checkpoints :]}
        kept.add(best_epoch(history, config.monitor) or len(history))
        for name in [name for name in self._known if name.place < written.place]:
            if name.step or name.epoch not in kept:
                delete(join(self._run, CHECKPOINTS, str(name)))
                self._known.remove(name)

    def of_epoch(self, epoch: int) -> list[CheckpointName]:
        """The checkpoints at the end of an epoch, this attempt's own first."""
        names = [name for name in checkpoint_names(self._run) if name.place == (epoch, 0)]
        return sorted(names, key=lambda name: name.attempt != self._attempt)
