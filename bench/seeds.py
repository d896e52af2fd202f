"""How good is a recipe, whatever the seed? The mean metrics of its runs, with 95% intervals.

    .venv/bin/python -m bench.seeds runs/best-1 runs/best-2 runs/best-3 --against runs/first …

Reads what `skinclf evaluate` left of each run. The intervals hold both chances: each round of the
bootstrap draws the lesions that are tested and, of the runs, as many as there are. With --against,
the mean of other runs and the difference, for which both are measured on the same drawn lesions. Of
one run alone nothing tells what its seed did: its interval holds the lesions' chance only.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.measure import print_table
from skinclf.evaluation.bootstrap import SEED, Draws, lesion_intervals, single_round
from skinclf.evaluation.comparison import same_images
from skinclf.evaluation.metrics import resample, resampled_names
from skinclf.evaluation.predictions import Predictions
from skinclf.reporting.results import read_predictions
from skinclf.storage.run_folder import RunFolder

ROUNDS = 2000
Metrics = NDArray[np.float64]  # (rounds, k) those of resampled_names()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--against", nargs="+", default=[])
    parser.add_argument("--set", default="test", help="the split, or the outside set's name")
    arguments = parser.parse_args()
    named = {run: read(run, arguments.set) for run in [*arguments.runs, *arguments.against]}
    first = named[arguments.runs[0]]
    for run, predictions in named.items():
        if not same_images(first, predictions):
            raise SystemExit(f"{run}: was not evaluated on the images of {arguments.runs[0]}")
    metrics = {run: partial(resample, predictions) for run, predictions in named.items()}
    once = single_round(first.lesions)
    rows = [[run, *map("{:.3f}".format, metrics[run](once)[0])] for run in named]
    ours = [metrics[run] for run in arguments.runs]
    rows.append(["mean", *told(first, lambda *drawn: mean(ours, *drawn))])
    if arguments.against:
        theirs = [metrics[run] for run in arguments.against]
        rows.append(["mean of the others", *told(first, lambda *drawn: mean(theirs, *drawn))])
        rows.append(
            ["difference", *told(first, lambda *drawn: mean(ours, *drawn) - mean(theirs, *drawn))]
        )
    lesions = int(first.lesions.max()) + 1
    print_table(f"{len(first):,} images of {lesions:,} lesions", ["", *resampled_names()], rows)


def read(run: str, name: str) -> Predictions:
    """What a run predicted, in the order of image ids."""
    folder = RunFolder(run)
    return read_predictions(folder.evaluation(name).predictions, folder.read_dataset().taxonomy)


def mean(
    runs: Sequence[Callable[[Draws], Metrics]],
    draws: Draws,
    random: np.random.Generator | None,
) -> Metrics:
    """The metrics in the mean of `runs`; with `random`, of as many drawn in each round."""
    metrics = np.array([run(draws) for run in runs])  # (runs, rounds, k)
    whole: Metrics = metrics.mean(axis=0)
    if random is None or len(runs) == 1:
        return whole
    chosen = np.array([random.integers(0, len(runs), len(runs)) for _ in range(len(draws))])
    drawn = metrics[chosen, np.arange(len(draws))[:, None]].mean(axis=1)
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
    images: Predictions, metrics: Callable[[Draws, np.random.Generator | None], Metrics]
) -> list[str]:
    """Each metric with its interval."""
    random = np.random.default_rng(SEED)
    intervals = lesion_intervals(images.lesions, lambda draws: metrics(draws, random), ROUNDS)
    values = metrics(single_round(images.lesions), None)[0]
    return [
        f"{value:.3f} ({low:.3f} – {high:.3f})"
        for value, (low, high) in zip(values, intervals, strict=True)
    ]


if __name__ == "__main__":
    main()
