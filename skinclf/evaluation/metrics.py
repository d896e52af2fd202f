"""The registry of whole-set metrics: an entry here is all that a new metric needs.

metrics.json, the report, the command line, the model card and MLflow take their rows from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation.accuracy import (
    accuracies,
    accuracy,
    balanced_accuracies,
    balanced_accuracy,
    binary_accuracies,
    binary_accuracy,
    binary_crossentropy,
    categorical_crossentropy,
)
from skinclf.evaluation.bootstrap import (
    Draws,
    all_lesions,
    fewest_lesions,
    lesion_intervals,
    with_width,
)
from skinclf.evaluation.predictions import Predictions

Form = Literal["percent", "number", "loss"]
FORMATS: dict[Form, str] = {"percent": "{:.1%}", "number": "{:.3f}", "loss": "{:.4f}"}


@dataclass(frozen=True)
class Metric:
    """One metric of a whole set: how it is computed, and how tables show it."""

    title: str
    """In lower case, as it stands within a sentence."""

    value: Callable[[Predictions], float]

    form: Form = "number"

    resampled: Callable[[Predictions, Draws], NDArray[np.float64]] | None = None
    """The metric in each round of the bootstrap, (rounds,), nan where a round does not define it.
    None: the metric has no interval."""

    lesions: Callable[[Predictions], int] = all_lesions
    """The lesions that limit the metric: below LEAST_LESIONS it has no interval."""

    is_share: bool = False
    """Whether it is a share of images, so that 0 and 1 have Clopper and Pearson's interval."""

    @property
    def has_baseline(self) -> bool:
        """Whether tables compare it: the baseline's loss tells only where probabilities are
        clipped.
        """
        return self.form != "loss"

    def show(self, value: float | None) -> str:
        """A value as tables show it; "–" for None."""
        return "–" if value is None else FORMATS[self.form].format(value)

    def show_difference(self, value: float) -> str:
        """A difference of two values with its sign, of shares in percentage points (pp)."""
        if self.form == "percent":
            return f"{100 * value:+.1f} pp"
        return FORMATS[self.form].replace(":", ":+").format(value)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        "top-1 accuracy",
        lambda found: accuracy(found.labels, found.predicted),
        form="percent",
        resampled=accuracies,
        is_share=True,
    ),
    "balanced_accuracy": Metric(
        "balanced accuracy",
        lambda found: balanced_accuracy(found.labels, found.predicted),
        form="percent",
        resampled=balanced_accuracies,
        lesions=fewest_lesions,
    ),
    "binary_accuracy": Metric(
        "binary accuracy",
        lambda found: binary_accuracy(found.labels, found.probabilities),
        form="percent",
        resampled=binary_accuracies,
    ),
    "binary_crossentropy": Metric(
        "binary cross-entropy",
        lambda found: binary_crossentropy(found.labels, found.probabilities),
        form="loss",
    ),
    "categorical_crossentropy": Metric(
        "categorical cross-entropy",
        lambda found: categorical_crossentropy(found.labels, found.probabilities),
        form="loss",
    ),
}
"""Key in metrics.json → metric; tables keep this order."""


def summary(predictions: Predictions) -> dict[str, float]:
    """Every metric, by key."""
    return {name: metric.value(predictions) for name, metric in METRICS.items()}


def always_majority(predictions: Predictions) -> Predictions:
    """What the baseline predicts of the same images: the majority class each time."""
    always = np.zeros_like(predictions.probabilities)
    always[:, predictions.taxonomy.label_of(predictions.taxonomy.majority)] = 1
    return replace(predictions, probabilities=always, decided=None)


def resampled_names() -> list[str]:
    """The keys of the metrics that have intervals."""
    return [name for name, metric in METRICS.items() if metric.resampled]


def resample(predictions: Predictions, draws: Draws) -> NDArray[np.float64]:
    """(rounds, k) the metrics of `resampled_names` in each round."""
    found = [
        metric.resampled(predictions, draws) for metric in METRICS.values() if metric.resampled
    ]
    return np.stack(found, axis=1) if found else np.empty((len(draws), 0))


def summary_intervals(predictions: Predictions, rounds: int) -> NDArray[np.float64]:
    """(k, 2) 95% intervals of the metrics of `resampled_names`."""
    intervals = lesion_intervals(
        predictions.lesions, lambda draws: resample(predictions, draws), rounds
    )
    metrics = [METRICS[name] for name in resampled_names()]
    values = [metric.value(predictions) for metric in metrics]
    return with_width(
        intervals,
        np.array(values),
        np.array([metric.lesions(predictions) for metric in metrics], np.int64),
        np.array([metric.is_share for metric in metrics], bool),
    )
