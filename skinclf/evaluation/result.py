"""What an evaluation and a cross-validation give, as types, whose JSON is metrics.json and
cross-validation.json.
"""

import json
from statistics import fmean
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from skinclf.spec.decision import DecisionRule
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from skinclf.spec.views import AVERAGED, Tta

Value = float | None
"""None where nothing defines a metric, such as the sensitivity of a class without images."""

Interval = tuple[Value, Value]
"""The limits of a 95% interval; None where there is none."""


class Frozen(BaseModel):
    """What all parts of a result have in common."""

    model_config = ConfigDict(frozen=True)


class OneVsRest(Frozen):
    """One class against the rest."""

    sensitivity: Value
    specificity: Value
    ppv: Value
    npv: Value
    f1: Value
    auc: Value
    average_precision: Value


class _Counted(Frozen):
    images: int


class ClassMetrics(OneVsRest, _Counted):
    """One class, predicted or not; intervals by metric."""

    intervals: dict[str, Interval]


class ChallengeMetrics(Frozen):
    """As the scorer of the ISIC 2018 challenge, task 3, defines it; None where it gives 1."""

    balanced_accuracy: float
    classes: dict[str, OneVsRest]


class ReliabilityBin(Frozen):
    """The images whose confidence lies in one bin."""

    images: int
    confidence: float  # mean
    accuracy: float


class CalibrationMetrics(Frozen):
    """How well confidence agrees with accuracy."""

    expected_calibration_error: float
    categorical_crossentropy: float
    reliability: tuple[ReliabilityBin, ...]


class Calibration(Frozen):
    """Before and after temperature scaling."""

    temperature: float
    as_it_is: CalibrationMetrics
    scaled: CalibrationMetrics


class OperatingPoint(Frozen):
    """The screened class against the rest, at one threshold; intervals by metric."""

    wanted_sensitivity: float
    expected_sensitivity: float
    threshold: float
    flagged: int
    sensitivity: Value
    specificity: Value
    ppv: Value
    npv: Value
    f1: Value
    intervals: dict[str, Interval]


class CoverageRow(Frozen):
    """Accuracy on the most confident share of images, and the lowest confidence among them."""

    coverage: float
    accuracy: float
    confidence: float


class SubgroupMetrics(Frozen):
    """One subgroup; intervals by metric.

    Where a class is screened, there is one field more: `screened_sensitivity(taxonomy)`.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Value] = Field(init=False)

    images: int
    lesions: int
    accuracy: Value
    balanced_accuracy: Value
    intervals: dict[str, Interval]


class PartMetrics(_Counted):
    """A part of the images, such as those of one source; intervals by metric."""

    lesions: int
    accuracy: Value
    balanced_accuracy: Value  # over the classes that are counted
    counted: tuple[str, ...]  # the codes of classes with enough images
    expected_calibration_error: float
    reliability: tuple[ReliabilityBin, ...]  # none of a part with few images
    intervals: dict[str, Interval]


class LeakCounts(Frozen):
    """What tested images and those that the model saw in training have in common."""

    images: int
    by_key: dict[str, int]
    near_duplicates: int


class Assessment(Frozen):
    """The metrics of a set of predictions."""

    taxonomy: Taxonomy = Field(default=HAM10000, exclude_if=lambda taxonomy: taxonomy == HAM10000)
    """metrics.json names it where it is another than HAM10000's."""

    images: int
    lesions: int
    model: dict[str, float]  # by key of METRICS, as are the next two
    baseline: dict[str, float]  # of always predicting the majority class
    intervals: dict[str, Interval]
    bootstrap_samples: int = 0  # of each interval; 0 in files of versions that did not write it
    classes: dict[str, ClassMetrics]  # by code
    confusion: tuple[tuple[int, ...], ...]  # rows the truth, columns the predicted label
    isic_2018: ChallengeMetrics
    calibration: Calibration
    screening: tuple[OperatingPoint, ...]  # by wanted sensitivity; `_screening_key` in JSON
    coverage: tuple[CoverageRow, ...]
    subgroups: dict[str, dict[str, SubgroupMetrics]]  # column → value
    sources: dict[str, PartMetrics] = Field(default={}, exclude_if=lambda found: not found)
    """By the name of the source; empty where the metadata has none."""

    @model_validator(mode="before")
    @classmethod
    def _named_by_field(cls, given: Any) -> Any:
        if isinstance(given, dict) and "melanoma" in given:
            return {
                "screening" if key == "melanoma" else key: value for key, value in given.items()
            }
        return given

    @model_serializer(mode="wrap")
    def _named_by_class(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        key = _screening_key(self.taxonomy)
        return {
            key if name == "screening" else name: value for name, value in handler(self).items()
        }


COMPARED = ("accuracy", "balanced_accuracy")
"""The metrics that are known of a model's validation images, too."""


class DecisionMetrics(Frozen):
    """How classes were decided on, and how good the most probable classes would have been."""

    asked: DecisionRule
    weights: dict[str, float]  # by code
    accuracy: float
    balanced_accuracy: float


class _Subject(Frozen):
    set: str  # the name of the split or of the outside set
    digest: str  # SHA-256 of model.keras
    tta: Tta  # the views over which probabilities are means
    split_by: str  # such as "lesion" or "lesion, fold 2 of 5"; "" for an outside set
    chosen_on: str  # the set on which thresholds and temperature are chosen
    archive: tuple[str, ...] = Field(default=(), exclude_if=lambda found: not found)
    metadata: str = Field(default="", exclude_if=lambda found: not found)
    """The paths of an outside set."""

    rejects: dict[str, int]  # by reason
    leaks: LeakCounts
    neighbors: int = Field(default=0, exclude_if=lambda count: not count)
    """The pairs of nearest images that the report shows at most: `evaluate.neighbors`."""

    decision: DecisionMetrics | None = Field(default=None, exclude_if=lambda found: found is None)
    """None where the predicted class is the most probable one."""

    validation: dict[str, float] = Field(default={}, exclude_if=lambda found: not found)
    """COMPARED of the model's validation images, of the same views and decided alike; empty where
    there are none, or where they are what is evaluated."""

    @property
    def decided_by(self) -> DecisionRule:
        """The rule by which classes were decided on."""
        return self.decision.asked if self.decision else DecisionRule(rule="probability")

    @property
    def averaged_over(self) -> str:
        """What probabilities are means over, in words; "" where they are no means."""
        return AVERAGED[self.tta]

    @model_validator(mode="before")
    @classmethod
    def _said_flips(cls, given: Any) -> Any:
        if isinstance(given, dict) and "flips" in given:
            rest = {key: value for key, value in given.items() if key != "flips"}
            return {"tta": "flips" if given["flips"] else "none", **rest}
        return given


class EvaluationResult(Assessment, _Subject):
    """What is evaluated, and its metrics: what metrics.json holds."""

    def to_json(self) -> str:
        """The text of metrics.json."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of metrics.json; ValueError where it is something else."""
        return cls.model_validate_json(text)


def screened_sensitivity(taxonomy: Taxonomy) -> str:
    """The key of the screened class's sensitivity in a subgroup, such as `mel_sensitivity`."""
    return f"{taxonomy.screened}_sensitivity"


class FoldResult(Frozen):
    """A fold, or a source that was left out: its model, and the metrics of its test images."""

    name: str  # of its folders, such as fold-1
    title: str  # "fold 1", or the source
    model: str  # SHA-256 of model.keras
    trained_on: int  # images
    metrics: PartMetrics
    validation: dict[str, float]  # COMPARED on the validation images; empty where there are none
    classes: tuple[str, ...] = ()  # that the validation images have


class CrossValidation(Frozen):
    """What cross-validation.json holds."""

    by: str  # "fold" or "source"
    folds: tuple[FoldResult, ...]
    only_trained_on: dict[str, int]  # source → its lesions, too few to be tested; "": no source
    pooled: EvaluationResult

    @property
    def fall(self) -> Value:
        """By how much balanced accuracy is lower on all test images than, in the mean, on the
        validation images of the models. None where there are none, or where any of these means
        is over other classes.

        A single source may lack some, and top-1 accuracy follows its mixture of classes.
        """
        name = "balanced_accuracy"
        tested = {code for code, row in self.pooled.classes.items() if row.images}
        if not all(name in fold.validation and {*fold.classes} == tested for fold in self.folds):
            return None
        validation = fmean(fold.validation[name] for fold in self.folds)
        return validation - self.pooled.model[name]

    def to_json(self) -> str:
        """The text of cross-validation.json."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of cross-validation.json; ValueError where it is something else."""
        return cls.model_validate_json(text)


def _screening_key(taxonomy: Taxonomy) -> str:
    # Readers of metrics.json know HAM10000's operating points under this name.
    return "melanoma" if taxonomy.screened == "mel" else "screening"
