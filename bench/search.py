"""Which recipe is best? Trials one after another, measured on validation alone.

python -m bench.search NAME … --dataset DATASET --runs FOLDER

Each trial is one `skinclf train`, which goes on where it was broken off; its row goes to
bench/search.jsonl, the log of what was tried and what it gave. The test split is never looked at.
`cpu_seconds` are this call's: a few, where the run had been finished before. `base` is the recipe
that a row's changes are changes of. The trials here are of conf/augmented.toml, which was called
best.toml in older rows; those of compact.toml and of best.toml with its teacher were added by hand
from the same commands and the same function `validated`.
"""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.measure import SKINCLF, measured
from skinclf.config.loader import shipped_config
from skinclf.evaluation.metrics import summary
from skinclf.evaluation.predictions import Predictions
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.dataset_folder import Dataset
from skinclf.training.predictor import Predictor
from skinclf.training.shards import pixels_of_column

LOG = Path(__file__).with_name("search.jsonl")
FIGURES = ("accuracy", "balanced_accuracy", "categorical_crossentropy")

BASE = "augmented.toml of 100 epochs"

TRIALS: dict[str, dict[str, Any]] = {
    # What a trial names is changed.
    "seed-1": {},
    "seed-2": {"train.seed": 2},
    "seed-3": {"train.seed": 3},
    "seed-1-bfloat16": {"train.precision": "bfloat16"},
    "seed-2-bfloat16": {"train.precision": "bfloat16", "train.seed": 2},
    "seed-3-bfloat16": {"train.precision": "bfloat16", "train.seed": 3},
}

ADJUSTMENTS = (-0.5, -0.25, 0.0, 0.25, 0.5)
"""Of the logits after training, on top of the trial's own: which trade-off the model offers."""


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("trials", nargs="+", choices=TRIALS)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--runs", default="search")
    arguments = parser.parse_args()
    for name in arguments.trials:
        run = f"{arguments.runs}/{name}"
        settings = [f"{key}={json.dumps(value)}" for key, value in TRIALS[name].items()]
        paths = [f"dataset.path={arguments.dataset}", f"run.path={run}"]
        words = [word for setting in (*settings, *paths) for word in ("--set", setting)]
        cost = measured([SKINCLF, "train", "--config", shipped_config("augmented.toml"), *words])
        row = {
            "base": BASE,
            "trial": name,
            "changed": TRIALS[name],
            "cpu_seconds": round(cost.cpu_seconds),
        }
        row |= validated(Dataset.read(arguments.dataset), run)
        with LOG.open("a") as log:
            log.write(json.dumps(row) + "\n")
        print(json.dumps(row, indent=1))


def validated(dataset: Dataset, run: str) -> dict[str, Any]:
    """FIGURES on the validation split: plain, of 4 and 8 views, and of 8 at ADJUSTMENTS.

    Rows of the log without "symmetries" are older: they have 4 views at ADJUSTMENTS.
    """
    tables = [pq.read_table(f"{dataset.path}/{file.path}") for file in dataset.files_of("val")]
    pixels = np.concatenate(
        [pixels_of_column(table["pixels"].combine_chunks(), dataset.image) for table in tables]
    )
    labels = np.concatenate([table["label"].to_numpy() for table in tables])
    plain, flips, symmetries = (
        predicted(Predictor.of_run(run, tta=tta, decided=False).load(threads=0), pixels)
        for tta in ("none", "flips", "symmetries")
    )
    counts = np.array(
        [dataset.counts["train"].get(code, 0) for code in dataset.classes], np.float64
    )
    prior = counts / counts.sum()
    adjusted = {str(tau): symmetries * prior**-tau for tau in ADJUSTMENTS}
    return {
        "validation": figures(labels, plain),
        "flips": figures(labels, flips),
        "symmetries": figures(labels, symmetries),
        "adjusted": {
            tau: figures(labels, (answers / answers.sum(axis=1, keepdims=True)).astype(np.float32))
            for tau, answers in adjusted.items()
        },
    }


def predicted(predict: Any, pixels: np.ndarray) -> np.ndarray:
    parts = [predict(pixels[start : start + 64]) for start in range(0, len(pixels), 64)]
    return np.concatenate(parts)


def figures(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    places = np.arange(len(labels))
    found = summary(
        Predictions(
            labels.astype(np.int32), probabilities, list(map(str, places)), places, HAM10000
        )
    )
    return {name: round(found[name], 4) for name in FIGURES}


if __name__ == "__main__":
    main()
