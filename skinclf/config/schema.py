"""Every setting, its type and its default.

conf/default.toml shows the same defaults with their units; a test keeps the two alike.
Relative paths are taken from the folder in which the command runs; ~/ is the user's home.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from skinclf.spec.decision import DecisionRule
from skinclf.spec.image_spec import FORMATS, ImageFormat, ImageSpec
from skinclf.spec.settings import Number, Settings
from skinclf.spec.taxonomy import Taxonomy
from skinclf.spec.views import Tta
from skinclf.system.text import comparable
from skinclf.system.uris import check_no_secret

MOST_PIXELS = 178_956_970
"""Pillow refuses more as a decompression bomb, and warns at half of it."""

LEAST_SECONDS = Field(ge=5)
"""Of a timeout for a worker, which reports each 2 seconds what it has done."""

MOST_SECONDS = Field(le=10**9)
"""Of a timeout: no thread can wait for more than ten times as many."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]


def _place(path: str) -> str:
    check_no_secret(path)  # no ValueError, of which pydantic would repeat the value
    # No shell does it in a file of settings, nor behind the = of --set.
    return os.path.expanduser(path) if re.match("~(/|$)", path) else path


Place = Annotated[str, AfterValidator(_place)]
"""A path or URI; "" where a setting may be left out."""

NamedPlace = Annotated[str, Field(min_length=1), AfterValidator(_place)]
"""A path or URI that has to be there."""


def _table_name(name: str) -> str:
    if name and not re.fullmatch(r"[\w-]+(\.[\w-]+){0,2}", name):
        raise ValueError(
            "the name of a table is expected: scores, schema.scores or catalog.schema.scores, of "
            "letters, digits, _ and -"
        )
    return name


TableName = Annotated[str, AfterValidator(_table_name)]
"""A table of Spark's catalog; "" for none."""

Paths = Annotated[
    tuple[NamedPlace, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


FOLDERS = "folders"
"""In place of a metadata file: the folder of an image is its class."""


METADATA_COLUMNS = (
    *("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"),
)
"""What is known of an image besides its file: HAM10000's columns, whatever the table's format."""


def dotted(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The values of nested tables with their names, parted by dots."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from dotted(inner, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, value


def _with_dots(value: object) -> object:
    """`{"mel": {"sensitivity": 0.8}}`, as TOML reads `mel.sensitivity = 0.8`, with dotted names."""
    return dict(dotted(value)) if isinstance(value, Mapping) else value


def _as_spark_has_it(value: object) -> object:
    """Names with dots, and numbers and booleans as the text that Spark takes."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: str(inner).lower() if isinstance(inner, bool | int | float) else inner
        for name, inner in dotted(value)
    }


def _nested(*kinds: str) -> dict[str, Any]:
    """The JSON schema of a table whose names may have dots, as TOML reads it."""
    inner = [{"type": kind} for kind in (*kinds, "object")]
    return {"type": "object", "additionalProperties": {"anyOf": inner}}


class Section(Settings, BaseModel):  # BaseModel: ruff looks no further
    """A group of settings: unknown keys are refused, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ArchiveConfig(Section):
    """The labelled archive that prepare reads."""

    paths: Paths = ()
    metadata: Place = ""
    same_lesion: Place = "ham10000"
    licence: str = ""
    include: tuple[Text, ...] = ()
    exclude: tuple[Text, ...] = ("__MACOSX", "._*", ".DS_Store", "Thumbs.db", "desktop.ini")
    reader: Literal["auto", "pyarrow", "spark"] = "auto"
    formats: Annotated[tuple[ImageFormat, ...], Field(min_length=1)] = FORMATS
    max_file_bytes: PositiveInt = 64 * 2**20
    max_pixels: Annotated[int, Field(gt=0, le=MOST_PIXELS)] = MOST_PIXELS // 2
    max_decode_seconds: Annotated[float, Field(gt=0, le=86_400)] = 20.0
    storage_errors: Literal["fail", "reject"] = "fail"

    @property
    def selection(self) -> dict[str, Any]:
        """What decides which files become images, as JSON: the settings that are not defaults. A
        dataset keeps the others by their names, but for the reader, which changes no image.
        """
        others = {"paths", "metadata", "same_lesion", "licence", "reader"}
        return self.model_dump(mode="json", exclude=others, exclude_defaults=True)

    @property
    def metadata_files(self) -> tuple[str, ...]:
        """The metadata file as a tuple; none where folders are the classes, or nothing is named."""
        return () if self.metadata in ("", FOLDERS) else (self.metadata,)


class MetadataConfig(Section):
    """What the table of diagnoses calls its columns and its diagnoses, if it has its own words.

    Which classes there are to map to is known where the table is read: those of a model, maybe.
    """

    columns: dict[str, Text] = {}
    labels: dict[Text, Text] = {}

    @field_validator("columns")
    @classmethod
    def _columns_are_ours(cls, columns: dict[str, str]) -> dict[str, str]:
        known = ", ".join(METADATA_COLUMNS)
        seen: dict[str, str] = {}
        for ours, theirs in columns.items():
            if ours not in METADATA_COLUMNS:
                raise ValueError(
                    f"{ours!r} is no column that is read; on the left of `=` one of {known} is "
                    f"expected, on the right the table's own name of it"
                )
            other = seen.setdefault(comparable(theirs), ours)
            if other != ours:
                raise ValueError(f"{theirs!r} can't be both {other} and {ours}")
        return columns

    @field_validator("labels")
    @classmethod
    def _labels_are_clear(cls, labels: dict[str, str]) -> dict[str, str]:
        seen: dict[str, str] = {}
        for word, code in labels.items():
            other = seen.setdefault(comparable(word), code)
            if comparable(other) != comparable(code):
                raise ValueError(
                    f"{word!r} can't be both {other} and {code}: words are compared without case "
                    f"and outer blanks, and however an accent is coded"
                )
        return labels


class DatasetConfig(Section):
    """Where the dataset is written and read, and how it is cut."""

    path: NamedPlace = "dataset"
    shards: PositiveInt = 16
    overwrite: bool = False


class SplitConfig(Section):
    """How images are divided into train, val and test.

    With `folds` or `left_out`, these choose the test images; the rest is divided into train and val
    in the proportion of their fractions.
    """

    by: Literal["lesion", "image"] = "lesion"
    train: Fraction = 0.8
    val: Fraction = 0.1
    test: Fraction = 0.1
    folds: Annotated[int, Field(ge=0, le=1_000)] = 0
    fold: PositiveInt = 1
    left_out: str = ""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 2020

    @property
    def in_words(self) -> str:
        """Such as "lesion" or "lesion, fold 2 of 5"."""
        if self.folds:
            return f"{self.by}, fold {self.fold} of {self.folds}"
        return f"{self.by}, source {self.left_out} left out" if self.left_out else self.by

    @property
    def train_of_rest(self) -> float:
        """The share of train in what is not tested."""
        return self.train / (self.train + self.val)

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9 or self.train == 0:
            raise ValueError(
                f"train, val and test are fractions of all images: train above 0 and a sum of 1 "
                f"expected, got {self.train} + {self.val} + {self.test} = {total:g}"
            )
        return self

    @model_validator(mode="after")
    def _one_choice_of_test_images(self) -> Self:
        if self.folds == 1:
            raise ValueError("folds: 2 or more are expected, or 0 for one split without folds")
        if self.folds and self.fold > self.folds:
            raise ValueError(f"fold: 1 to {self.folds} (folds) is expected, got {self.fold}")
        if not self.folds and self.fold != 1:
            raise ValueError(f"fold: is {self.fold}, and there are no folds; set folds, too")
        if self.folds and self.left_out:
            raise ValueError("folds and left_out both choose the test images: set one of them")
        return self


class RunConfig(Section):
    """Where a training run is written and read."""

    path: NamedPlace = "runs/first"


class ModelConfig(Section):
    """Which network is trained, and from where it starts."""

    name: Text = "benbrahim2020"  # of training.networks.NETWORKS
    initializer: Literal["glorot_uniform", "he_uniform"] = "glorot_uniform"
    zero_centered: bool = False
    color_constancy: Literal["none", "shades_of_gray"] = "none"
    downscale: PositiveInt = 1


class AugmentConfig(Section):
    """Random changes of each training image, drawn anew in every epoch."""

    flip: bool = False
    rotate: Literal["none", "quarter", "any"] = "none"
    shift: Fraction = 0.0
    zoom: Fraction = 0.0
    aspect: Fraction = 0.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    channel_gain: Fraction = 0.0
    gamma: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Fraction = 0.0

    @property
    def resamples(self) -> bool:
        """Whether pixels come to lie between those of the original."""
        return self.rotate == "any" or self.zoom > 0 or self.aspect > 0

    @property
    def spatial(self) -> bool:
        """Whether pixels change their places."""
        return self.flip or self.rotate != "none" or self.shift > 0 or self.resamples

    @property
    def recolors(self) -> bool:
        """Whether colors change, and not only light."""
        return max(self.channel_gain, self.gamma, self.saturation, self.hue) > 0

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return self.spatial or self.recolors or self.brightness > 0 or self.contrast > 0


RUNTIME_SETTINGS = {
    *("slots", "local_mode", "threads_per_slot"),
    *("image_cache_mb", "keep_checkpoints", "checkpoint_minutes"),
}
"""Settings of [train] that change nothing in what is learned."""


class TrainConfig(Section):
    """How the network is trained."""

    slots: PositiveInt = 1
    local_mode: bool = True
    threads_per_slot: NonNegativeInt = 0
    precision: Literal["float32", "bfloat16", "auto", "float64"] = "float32"
    epochs: Annotated[int, Field(gt=0, le=1_000_000)] = 25
    global_batch_size: PositiveInt = 64
    optimizer: Text = "adam"  # of training.optimizers.OPTIMIZERS
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.004
    lr_schedule: Text = "constant"  # of training.optimizers.SCHEDULES
    warmup_epochs: NonNegativeInt = 0
    loss: Text = "categorical_crossentropy"  # of training.losses.LOSSES
    class_weighting: Literal["none", "balanced"] = "none"
    logit_adjustment: NonNegativeFloat = 0.0
    label_smoothing: Fraction = 0.0
    dropout: Fraction = 0.5
    teachers: Paths = ()
    teacher_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 2020
    monitor: Literal["val_loss", "val_accuracy", "val_balanced_accuracy"] = "val_loss"
    early_stopping_patience: NonNegativeInt = 0
    final_weights: Literal["last", "best"] = "last"
    shuffle_window: PositiveInt = 1024
    image_cache_mb: NonNegativeInt = 2048
    keep_checkpoints: PositiveInt = 2
    checkpoint_minutes: NonNegativeFloat = 0.0
    augment: AugmentConfig = AugmentConfig()

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The settings that decide what is learned, by dotted key.

        The rest says where training runs, how much memory is used and how often is written; it
        may change on the way.
        """
        tree = self.model_dump(exclude=RUNTIME_SETTINGS)
        augment = tree.pop("augment")
        return tree | {f"augment.{key}": value for key, value in augment.items()}

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.warmup_epochs and not self.warmup_epochs < self.epochs:
            raise ValueError(
                f"warmup_epochs below epochs is expected, got {self.warmup_epochs} of {self.epochs}"
            )
        if self.warmup_epochs and self.lr_schedule != "cosine":
            raise ValueError('warmup_epochs is part of lr_schedule = "cosine"')
        return self

    @model_validator(mode="after")
    def _local_mode_has_one_slot(self) -> Self:
        if self.local_mode and self.slots != 1:
            raise ValueError(
                f"local_mode = true trains in the driver, where slots = 1 is expected, got "
                f"{self.slots}; to train in {self.slots} Spark tasks set local_mode = false"
            )
        return self


class FaultToleranceConfig(Section):
    """How the driver watches over a training in Spark tasks."""

    max_restarts: NonNegativeInt = 3
    ports: Annotated[str, Field(pattern=r"^(\d+-\d+)?$")] = ""
    slot_wait_timeout_seconds: Annotated[NonNegativeInt, MOST_SECONDS] = 600
    startup_timeout_seconds: Annotated[int, LEAST_SECONDS, MOST_SECONDS] = 600
    heartbeat_timeout_seconds: Annotated[int, LEAST_SECONDS, MOST_SECONDS] = 60
    step_timeout_seconds: Annotated[int, LEAST_SECONDS, MOST_SECONDS] = 300

    @model_validator(mode="after")
    def _ports_are_a_range(self) -> Self:
        if self.ports:
            first, last = map(int, self.ports.split("-"))
            if not 1024 <= first <= last <= 65535:
                raise ValueError(f"ports from 1024 to 65535 are expected, got {self.ports}")
        return self


class MlflowConfig(Section):
    """Where runs are tracked, if anywhere."""

    tracking_uri: str = ""
    experiment: Text = "skinclf"


Share = Annotated[Number, Field(gt=0, le=1)]


Gates = Annotated[
    dict[str, Number],  # metric (of evaluation.metrics, or CLASS.METRIC) → the value to reach
    BeforeValidator(_with_dots),
    WithJsonSchema(_nested("number")),
]


class EvaluateConfig(Section):
    """What is evaluated: a split of the dataset, or an archive from elsewhere."""

    split: Literal["val", "test"] = "test"
    archive: Paths = ()
    metadata: Place = ""
    name: Annotated[str, Field(pattern=r"^([\w-][\w.-]*)?$")] = ""
    tta: Tta = "none"
    allow_leaks: bool = False
    bootstrap_samples: PositiveInt = 1000
    screening_sensitivities: tuple[Share, ...] = (0.8, 0.9, 0.95)
    neighbors: Annotated[int, Field(ge=0, le=1_000)] = 0
    batch_size: PositiveInt = 64
    gates: Gates = {}

    @model_validator(mode="after")
    def _outside_set_is_whole(self) -> Self:
        if bool(self.archive) != bool(self.metadata):
            raise ValueError("archive and metadata belong together: set both, or neither")
        if self.name and not self.archive:
            raise ValueError("name is that of an outside set (archive); a split has its own")
        return self


class CrossValidateConfig(Section):
    """What cross-validate tests in turn, and where it writes."""

    output: NamedPlace = "runs/cross-validation"
    by: Literal["fold", "source"] = "fold"
    folds: Annotated[int, Field(ge=2, le=1_000)] = 5
    min_lesions: PositiveInt = 100


class ScoreConfig(Section):
    """What is scored, and where the scores go."""

    archive: Paths = ()
    output: NamedPlace = "scores"
    format: Literal["parquet", "csv", "isic"] = "parquet"
    table: TableName = ""
    table_format: Literal["parquet", "delta"] = "parquet"
    engine: Literal["auto", "openvino", "tensorflow"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    tta: Tta | Literal["auto"] = "auto"
    limit: Annotated[int, Field(ge=0, lt=2**31)] = 0
    drop_waiting: bool = False
    compare_content: bool = False
    retry_rejects: tuple[Text, ...] = ()
    max_reject_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    micro_batch_images: PositiveInt = 8192
    batch_size: PositiveInt = 64


class SparkConfig(Section):
    """The session of `skinclf NAME`; under spark-submit, submit's own master and memory count."""

    master: Text = "local[*]"
    driver_memory: Text = "4g"
    share_classes: bool = True
    conf: Annotated[
        dict[str, str],
        BeforeValidator(_as_spark_has_it),
        WithJsonSchema(_nested("string", "number", "boolean")),
    ] = {}

    @field_validator("master")
    @classmethod
    def _is_a_master(cls, master: str) -> str:
        if not re.fullmatch(r"local(-cluster)?(\[[^\]]+\])?|yarn|[\w+-]+://.+", master):
            raise ValueError(
                "a Spark master is expected: local[N], local[*], spark://HOST:PORT, yarn, "
                "k8s://HOST:PORT or, of Spark Connect, sc://HOST:PORT"
            )
        return master


class Config(Section):
    """All settings. Functions take the smallest section they need, not this tree."""

    archive: ArchiveConfig = ArchiveConfig()
    metadata: MetadataConfig = MetadataConfig()
    dataset: DatasetConfig = DatasetConfig()
    image: ImageSpec = ImageSpec()
    classes: Taxonomy = Taxonomy()
    split: SplitConfig = SplitConfig()
    run: RunConfig = RunConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    fault_tolerance: FaultToleranceConfig = FaultToleranceConfig()
    mlflow: MlflowConfig = MlflowConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    decision: DecisionRule = DecisionRule()
    cross_validate: CrossValidateConfig = CrossValidateConfig()
    score: ScoreConfig = ScoreConfig()
    spark: SparkConfig = SparkConfig()

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The settings that decide what is learned, by dotted key: a run keeps to its own."""
        model = {f"model.{key}": value for key, value in self.model.model_dump().items()}
        return model | {f"train.{key}": value for key, value in self.train.hyperparameters.items()}
