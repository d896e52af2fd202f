"""What each worker of a training needs to know. Imports no TensorFlow."""

from dataclasses import dataclass

from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import RunFolder
from skinclf.training.predictor import Predictor


@dataclass(frozen=True)
class TrainingJob:
    """What to train on, where to write, and how; the same for all workers of an attempt."""

    dataset: Dataset
    run: RunFolder
    model: ModelConfig
    config: TrainConfig
    attempt: str = ""  # that alone may write to the run now
    resume: str = ""  # the checkpoint to resume from, "" for none
    teachers: tuple[Predictor, ...] = ()  # whose mean probabilities are learned, too


@dataclass(frozen=True)
class WorkerContext:
    """One worker among `addresses` (host:port, in the order of the Spark tasks).

    No addresses: training in this process alone.
    """

    rank: int = 0
    addresses: tuple[str, ...] = ()
    threads: int = 0  # of TensorFlow in this process; 0: one a core

    @property
    def world_size(self) -> int:
        """How many workers train together."""
        return max(len(self.addresses), 1)

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes."""
        return self.rank == 0
