"""How one class is decided on from an image's probabilities."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from skinclf.spec.settings import Number, Settings
from skinclf.spec.taxonomy import Taxonomy
from skinclf.spec.views import AVERAGED, Tta

if TYPE_CHECKING:  # settings are read without NumPy
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

NEVER = 1e-12
"""The weight of a class that is not to be decided on: weights are above 0."""

MOST = 1e6
"""The highest cost: further apart, products of costs and probabilities lose their digits."""


class DecisionRule(Settings, BaseModel):  # BaseModel: ruff looks no further
    """What decisions are to be good for; the weights that follow are chosen on validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rule: Literal[
        "stored",
        "probability",
        "accuracy",
        "balanced_accuracy",
        "both_accuracies",
        "costs",
        "sensitivity",
    ] = "stored"
    costs: dict[str, Annotated[Number, Field(le=MOST, ge=1 / MOST)]] = {}
    sensitivity: Annotated[float, Field(gt=0, le=1)] = 0.9

    @property
    def is_chosen(self) -> bool:
        """Whether validation images are needed."""
        return self.rule not in ("stored", "probability")

    @model_validator(mode="after")
    def _costs_belong_to_their_rule(self) -> Self:
        if bool(self.costs) != (self.rule == "costs"):
            raise ValueError(
                'rule = "costs" and costs belong together: name what it costs to miss a class, '
                "such as costs.mel = 10, or choose another rule"
            )
        return self


class Decision(BaseModel):
    """What decision.json of a run holds: how classes are decided on."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    asked: DecisionRule
    weights: dict[str, PositiveFloat]
    """Code → weight; the class of the highest weighted probability is decided on."""

    model: str  # SHA-256 of the model.keras whose probabilities these are
    tta: Tta = "none"  # the views over which these probabilities are means
    validation: dict[str, int]
    """Code → how many validation images are decided to be of the class."""


def warn_of_views(decision: Decision | None, tta: Tta, setting: str) -> None:
    """Log that weights were chosen for other means of probabilities than `setting` asks for."""
    if decision and decision.tta != tta:
        log.warning(
            "decisions are less good than they could be: the weights in decision.json were chosen "
            'for %s, and probabilities are of %s. Set %s = "%s", or choose anew',
            *(AVERAGED[views] or "the image alone" for views in (decision.tta, tta)),
            setting,
            decision.tta,
        )


def weights_of(decision: Decision | None, taxonomy: Taxonomy) -> tuple[float, ...]:
    """The weights in the order of the codes; () without a decision."""
    return tuple(decision.weights[code] for code in taxonomy.codes) if decision else ()


def decide(
    probabilities: "NDArray[np.float32]", weights: Sequence[float] = ()
) -> "NDArray[np.int64]":
    """(n, classes) probabilities → (n,) labels: of the highest probability times its weight.

    No weights: of the highest probability.
    """
    labels: NDArray[np.int64] = (probabilities * (weights or (1.0,))).argmax(axis=1)
    return labels
