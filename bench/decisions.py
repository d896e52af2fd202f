"""Which rule decides best on images that it was not chosen on?

python -m bench.decisions RUN …

Each run needs its evaluation of the validation split (`skinclf evaluate --set evaluate.split=val`).
A rule is chosen on a random half of validation's lesions and judged on the other half, then the
other way round, HALVES times for each run; the halves are the same for all rules. One line a
rule: means over all of them. The test split is never looked at.
"""

from argparse import ArgumentParser

import numpy as np
import pyarrow.parquet as pq

from skinclf.evaluation.accuracy import accuracy, balanced_accuracy
from skinclf.evaluation.decisions import choose_weights
from skinclf.evaluation.predictions import Predictions
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
        trained = RunFolder(run).read_dataset().counts["train"]
        images = read_predictions(run)
        random = np.random.default_rng(0)
        for _ in range(HALVES):
            mine = random.random(images.lesions.max() + 1)[images.lesions] < 0.5
            for asked in RULES:
                for half in (mine, ~mine):
                    pair = judged(asked, images.subset(half), images.subset(~half), trained)
                    found[asked.rule].append(pair)
    print("| rule | top-1 | balanced accuracy | their mean |\n| --- | --- | --- | --- |")
    for rule, pairs in found.items():
        top, balanced = np.mean(pairs, axis=0)
        print(f"| `{rule}` | {top:.3f} | {balanced:.3f} | {(top + balanced) / 2:.3f} |")


def read_predictions(run: str) -> Predictions:
    """What the run's model gives for validation images."""
    taxonomy = RunFolder(run).read_dataset().taxonomy
    rows = pq.read_table(f"{run}/evaluation/val/predictions").to_pandas()
    probabilities = rows[[f"probability_{code}" for code in taxonomy.codes]]
    return Predictions(
        rows["label"].to_numpy(),
        probabilities.to_numpy(np.float32),
        rows["image_id"].tolist(),
        np.unique(rows["lesion_id"], return_inverse=True)[1],
        taxonomy,
    )


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
