"""The same metrics for parts of the patients."""

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.accuracy import accuracies, balanced_accuracies
from skinclf.evaluation.bootstrap import (
    Draws,
    all_lesions,
    count_lesions,
    estimates,
    fewest_lesions,
)
from skinclf.evaluation.operating_points import screened
from skinclf.evaluation.predictions import SOURCE, Predictions
from skinclf.evaluation.result import SubgroupMetrics, screened_sensitivity
from skinclf.evaluation.values import by_name, intervals_by_name


def subgroups(predictions: Predictions, rounds: int) -> dict[str, dict[str, SubgroupMetrics]]:
    """Column → value → metrics of the images with that value; values in order.

    Sources are no subgroup of patients: `by_source` has them.
    """
    return {
        column: {
            str(value): _metrics(predictions.subset(values == value), rounds)
            for value in np.unique(values)
        }
        for column, values in predictions.groups.items()
        if column != SOURCE
    }


def _metrics(group: Predictions, rounds: int) -> SubgroupMetrics:
    names, shares = ["accuracy", "balanced_accuracy"], [True, False]
    counts = [all_lesions(group), fewest_lesions(group)]
    if group.taxonomy.screened:
        names.append(screened_sensitivity(group.taxonomy))
        shares.append(True)
        counts.append(count_lesions(group.lesions, screened(group)[0]))

    def statistic(draws: Draws) -> NDArray[np.float64]:
        columns = [accuracies(group, draws), balanced_accuracies(group, draws)]
        if group.taxonomy.screened:
            columns.append(_sensitivities(group, draws))
        return np.stack(columns, axis=1)

    values, limits = estimates(group.lesions, statistic, rounds, of_lesions=counts, shares=shares)
    return SubgroupMetrics(
        images=len(group),
        lesions=all_lesions(group),
        **by_name(names, values),  # type: ignore[arg-type]
        intervals=intervals_by_name(names, limits),
    )


def _sensitivities(group: Predictions, draws: Draws) -> NDArray[np.float64]:
    """(rounds,) the sensitivity of the screened class in each round."""
    truth, _ = screened(group)
    found = truth & (group.predicted == group.labels)
    hits, images = draws.sums(np.stack([found, truth], axis=1)).T
    with np.errstate(invalid="ignore"):
        sensitivities: NDArray[np.float64] = hits / images
    return sensitivities
