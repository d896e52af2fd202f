"""How good is a recipe, whatever the seed? The mean figures of its runs, with 95 % intervals.

    .venv/bin/python -m bench.seeds runs/best-1 runs/best-2 runs/best-3 --against runs/first …

Reads what `skinclf evaluate` left of each run. The intervals hold both chances: each round of the
bootstrap draws the lesions that are tested and, of the runs, as many as there are. With --against,
the mean of other runs and the difference, for which both answer the same drawn lesions. Of one run
alone nothing tells what its seed did: its interval holds the lesions' chance only.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import stats

from bench.measure import print_table
from skinclf.evaluation.assessment import WHOLE, whole_set
from skinclf.evaluation.bootstrap import SEED, lesion_intervals
from skinclf.evaluation.predictions import Predictions, predictions_of

ROUNDS = 2000
Weights = NDArray[np.float64]  # (n,) how often each image counts
Figures = NDArray[np.float64]  # (3,) WHOLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--against", nargs="+", default=[])
    parser.add_argument("--set", default="test", help="the split, or the outside set's name")
    arguments = parser.parse_args()
    named = {run: read(run, arguments.set) for run in [*arguments.runs, *arguments.against]}
    first = named[arguments.runs[0]]
    for run, predictions in named.items():
        if predictions.image_ids != first.image_ids:
            raise SystemExit(f"{run}: was not evaluated on the images of {arguments.runs[0]}")
    figures = {run: whole_set(predictions) for run, predictions in named.items()}
    each = np.ones(len(first))
    rows = [[run, *map("{:.3f}".format, figures[run](each))] for run in named]
    ours = [figures[run] for run in arguments.runs]
    rows.append(["mean", *told(first, lambda *drawn: mean(ours, *drawn))])
    if arguments.against:
        theirs = [figures[run] for run in arguments.against]
        rows.append(["mean of the others", *told(first, lambda *drawn: mean(theirs, *drawn))])
        rows.append(
            ["difference", *told(first, lambda *drawn: mean(ours, *drawn) - mean(theirs, *drawn))]
        )
    lesions = int(first.lesions.max()) + 1
    print_table(f"{len(first):,} images of {lesions:,} lesions", ["", *WHOLE], rows)


def read(run: str, name: str) -> Predictions:
    """What a run answered, in the order of image ids."""
    table = pq.read_table(f"{run}/evaluation/{name}/predictions")
    return predictions_of(table.sort_by("image_id"))


def mean(
    runs: Sequence[Callable[[Weights], Figures]],
    weights: Weights,
    random: np.random.Generator | None,
) -> Figures:
    """WHOLE in the mean of `runs`; with `random`, of as many drawn from them."""
    figures = np.array([run(weights) for run in runs])
    whole: Figures = figures.mean(axis=0)
    if random is None or len(runs) == 1:
        return whole
    drawn = figures[random.integers(0, len(runs), len(runs))].mean(axis=0)
    return whole + widening(len(runs)) * (drawn - whole)


@cache
def widening(runs: int) -> float:
    """By how much the bootstrap's spread over so few runs is too narrow.

    The variance of runs drawn with replacement is (n - 1) / n of the sample's, and the percentiles
    are a normal distribution's instead of Student's t (Hesterberg 2015, section 3.2).
    """
    quantile = 0.975
    student = stats.t.ppf(quantile, runs - 1) / stats.norm.ppf(quantile)
    return float(student * np.sqrt(runs / (runs - 1)))


def told(
    images: Predictions, figures: Callable[[Weights, np.random.Generator | None], Figures]
) -> list[str]:
    """Each of WHOLE with its interval."""
    random = np.random.default_rng(SEED)
    intervals = lesion_intervals(images.lesions, lambda weights: figures(weights, random), ROUNDS)
    values = figures(np.ones(len(images)), None)
    return [
        f"{value:.3f} ({low:.3f} – {high:.3f})"
        for value, (low, high) in zip(values, intervals, strict=True)
    ]


if __name__ == "__main__":
    main()
