"""Gates: metrics that a model has to reach before it is used."""

from collections.abc import Mapping
from dataclasses import dataclass

from skinclf.errors import ConfigError, QualityError
from skinclf.evaluation.assessment import OF_A_CLASS
from skinclf.evaluation.metrics import METRICS
from skinclf.evaluation.result import EvaluationResult, Interval, Value
from skinclf.spec.taxonomy import Taxonomy

SETTING = "evaluate.gates"


@dataclass(frozen=True)
class Gate:
    """One metric, the value that it has and the one that it has to reach.

    A loss has to be at most `bound`, any other metric at least. It is compared by its value, not by
    a limit of its interval: how far to stay away from a limit is the bound's matter.
    """

    metric: str
    bound: float
    value: Value
    interval: Interval | None = None

    @property
    def is_reached(self) -> bool:
        """Whether it is; a metric that nothing defines is not."""
        if self.value is None:
            return False
        return self.value <= self.bound if _is_loss(self.metric) else self.value >= self.bound

    def __str__(self) -> str:
        low, high = self.interval or (None, None)
        interval = "" if low is None or high is None else f" (95% CI {low:.4g}–{high:.4g})"
        value = "not defined by these images" if self.value is None else f"{self.value:.4g}"
        than = "at most" if _is_loss(self.metric) else "at least"
        return f"{self.metric} is {value}{interval}, {than} {self.bound:g} is expected"


def check_gate_settings(gates: Mapping[str, float], taxonomy: Taxonomy) -> None:
    """Raise ConfigError for a metric that there is not, and for a bound that can't be reached."""
    known = [*METRICS, *(f"{code}.{name}" for code in taxonomy.codes for name in OF_A_CLASS)]
    for metric, bound in gates.items():
        if metric not in known:
            raise ConfigError(
                f"{SETTING}: there is no metric {metric!r}; known are {', '.join(METRICS)}, and of "
                f"each class {', '.join(OF_A_CLASS)}, such as {taxonomy.majority}.{OF_A_CLASS[0]} "
                f"(classes: {', '.join(taxonomy.codes)})"
            )
        if bound < 0 or (bound > 1 and not _is_loss(metric)):
            most = "0 or more" if _is_loss(metric) else "0 to 1"
            raise ConfigError(f"{SETTING}.{metric}: {most} is expected, got {bound:g}")


def gates_of(result: EvaluationResult, gates: Mapping[str, float]) -> list[Gate]:
    """Each gate with its metric's value."""
    return [Gate(metric, bound, *_found(result, metric)) for metric, bound in gates.items()]


def check_gates(result: EvaluationResult, report: str, gates: Mapping[str, float]) -> None:
    """Raise QualityError, in one line, unless all gates are reached. `report` is where to look."""
    missed = [str(gate) for gate in gates_of(result, gates) if not gate.is_reached]
    if missed:
        raise QualityError(
            f"{SETTING} on {result.set}: {'; '.join(missed)}. Everything is written: {report}"
        )


def _found(result: EvaluationResult, metric: str) -> tuple[Value, Interval | None]:
    if metric in METRICS:
        return result.model.get(metric), result.intervals.get(metric)
    code, _, name = metric.partition(".")
    row = result.classes[code]
    return getattr(row, name), row.intervals.get(name)


def _is_loss(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].form == "loss"
