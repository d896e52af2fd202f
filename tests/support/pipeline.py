"""The settings with which tests run whole jobs, and what a run has learned."""

from pathlib import Path

import numpy as np

from skinclf.config.loader import load_config
from skinclf.config.schema import Config
from skinclf.testing.archive import METADATA, ZIPS


def pipeline_config(folder: Path, *assignments: str) -> Config:
    """The settings of all jobs over the drawn archive in `folder`/archive."""
    return load_config(None, [*pipeline_assignments(folder), *assignments])


def pipeline_assignments(folder: Path) -> list[str]:
    """The same as a command line gives them."""
    archive = folder / "archive"
    return [
        f'archive.paths=["{archive / ZIPS[0]}","{archive / ZIPS[1]}"]',
        f"archive.metadata={archive / METADATA}",
        f"dataset.path={folder / 'dataset'}",
        "dataset.shards=4",
        f"run.path={folder / 'run'}",
        f"score.output={folder / 'scores'}",
        *(
            "train.epochs=2",
            "train.global_batch_size=32",
            "train.dropout=0",
            "evaluate.bootstrap_samples=20",
        ),
        *("spark.master=local[2]", "spark.driver_memory=1g"),
    ]


def weights(run: Path) -> np.ndarray:
    """All weights of a run's model in one row."""
    import keras  # here, so that tests of the Spark side need not wait for TensorFlow

    model = keras.models.load_model(run / "model.keras", compile=False)
    return np.concatenate([weight.ravel() for weight in model.get_weights()])
