"""Which rule decides best on images that it was not chosen on?

python -m bench.decisions RUN …

Each run needs its evaluation of the validation split (`skinclf evaluate --set evaluate.split=val`).
A rule is chosen on a random half of validation's lesions and judged on the other half, then the
other way round, HALVES times for each run; the halves are the same for all rules. One line a
rule: means over all of them. The test split is never looked at.
"""

from argparse import ArgumentParser

import numpy as np

from skinclf.evaluation.accuracy import accuracy, balanced_accuracy
from skinclf.evaluation.decisions import choose_weights
from skinclf.evaluation.predictions import Predictions
from skinclf.reporting.results import read_predictions
from skinclf.spec.decision import DecisionRule, decide
from skinclf.storage.run_folder import RunFolder

HALVES = 40
RULES = tuple(
    DecisionRule(rule=rule)
    for rule in ("probability", "accuracy", "both_accuracies", "balanced_accuracy")
)


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+")
    found: dict[str, list[tuple[float, float]]] = {asked.rule: [] for asked in RULES}
    for run in parser.parse_args().runs:
        folder = RunFolder(run)
        dataset = folder.read_dataset()
        images = read_predictions(folder.evaluation("val").predictions, dataset.taxonomy)
        random = np.random.default_rng(0)
        for _ in range(HALVES):
            mine = random.random(images.lesions.max() + 1)[images.lesions] < 0.5
            for asked in RULES:
                for half in (mine, ~mine):
                    pair = judged(
                        asked, images.subset(half), images.subset(~half), dataset.counts["train"]
                    )
                    found[asked.rule].append(pair)
    print("| rule | top-1 | balanced accuracy | their mean |\n| --- | --- | --- | --- |")
    for rule, pairs in found.items():
        top, balanced = np.mean(pairs, axis=0)
        print(f"| `{rule}` | {top:.3f} | {balanced:.3f} | {(top + balanced) / 2:.3f} |")


def judged(
    asked: DecisionRule, chosen_on: Predictions, judged_on: Predictions, trained: dict[str, int]
) -> tuple[float, float]:
    """Top-1 and balanced accuracy of a rule on images that it was not chosen on."""
    weights = choose_weights(asked, chosen_on, trained) if asked.is_chosen else {}
    decided = decide(judged_on.probabilities, tuple(weights.values()))
    labels = judged_on.labels
    return accuracy(labels, decided), balanced_accuracy(labels, decided)


if __name__ == "__main__":
    main()
