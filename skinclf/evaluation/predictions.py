"""What a model predicts, beside the truth: columns in memory, read from the predictions table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skinclf.spec.decision import decide
from skinclf.spec.taxonomy import Taxonomy, probability_column

Labels = NDArray[np.int32]
Probabilities = NDArray[np.float32]

GROUPS = ("sex", "age", "localization", "dx_type")
"""The columns that define subgroups; `age` as AGE_BANDS."""

SOURCE = "dataset"
"""The column that says where an image comes from."""

AGE_BANDS = ((0, 30), (30, 45), (45, 60), (60, 75), (75, 200))
"""Years, from (included) to (excluded)."""

UNKNOWN, OTHERS = "unknown", "all others"

LONGEST_GROUP = 100
"""Characters of a group's name; more are cut off."""

MOST_GROUPS = 30
"""Of a column: in free text nearly every image is a group of its own."""


@dataclass(frozen=True)
class Predictions:
    """n images: labels, probabilities, and what they are resampled and grouped by.

    An image without lesion_id is a lesion of its own.
    """

    labels: Labels  # (n,) positions in the taxonomy's codes
    probabilities: Probabilities  # (n, classes), in the order of the codes
    image_ids: Sequence[str]
    lesions: NDArray[np.int64]  # (n,) 0 … number of lesions - 1
    taxonomy: Taxonomy
    groups: dict[str, NDArray[np.str_]] = field(default_factory=dict)  # column → (n,)
    decided: NDArray[np.int64] | None = None  # (n,) labels; None: those of the highest probability

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(n,) predicted labels: what was decided, or the class with the highest probability."""
        return decide(self.probabilities) if self.decided is None else self.decided

    @property
    def confidence(self) -> Probabilities:
        """(n,) the probability of the predicted class."""
        chosen: Probabilities = self.probabilities[np.arange(len(self)), self.predicted]
        return chosen

    def subset(self, where: NDArray[np.bool_]) -> "Predictions":
        """The images `where` (n,) holds."""
        return Predictions(
            self.labels[where],
            self.probabilities[where],
            [name for name, taken in zip(self.image_ids, where, strict=True) if taken],
            np.unique(self.lesions[where], return_inverse=True)[1],
            self.taxonomy,
            {column: values[where] for column, values in self.groups.items()},
            None if self.decided is None else self.decided[where],
        )


def predictions_of(table: pa.Table, taxonomy: Taxonomy) -> Predictions:
    """A table of `predictions_schema(taxonomy)` → columns in memory.

    Raises ValueError for a `dx` that is none of the codes, KeyError for a missing column.
    """
    images = table["image_id"].to_pylist()
    lesions = [
        lesion or f"image {image}"
        for lesion, image in zip(table["lesion_id"].to_pylist(), images, strict=True)
    ]
    numbers = {lesion: number for number, lesion in enumerate(sorted({*lesions}))}
    probabilities = [table[probability_column(code)].to_numpy() for code in taxonomy.codes]
    return Predictions(
        np.array([taxonomy.label_of(code) for code in table["dx"].to_pylist()], np.int32),
        np.stack(probabilities, axis=1),
        images,
        np.array([numbers[lesion] for lesion in lesions], np.int64),
        taxonomy,
        {
            column: _groups(table, column)
            for column in (*GROUPS, SOURCE)
            if column in (*GROUPS, *table.column_names)
        },
        np.array([taxonomy.label_of(code) for code in table["predicted"].to_pylist()], np.int64),
    )


def with_decisions(table: pa.Table, weights: Sequence[float], taxonomy: Taxonomy) -> pa.Table:
    """A table of `predictions_schema(taxonomy)` with `predicted` decided on by `weights`."""
    columns = [table[probability_column(code)].to_numpy() for code in taxonomy.codes]
    labels = decide(np.stack(columns, axis=1), weights)
    predicted = pa.array([taxonomy.codes[label] for label in labels], pa.string())
    place = table.schema.get_field_index("predicted")
    return table.set_column(place, "predicted", predicted)


def _groups(table: pa.Table, column: str) -> NDArray[np.str_]:
    values = table[column].to_pylist()
    if column == "age":
        return np.array([age_band(age) for age in values])
    # NumPy gives each text the width of the longest.
    values = [value and value[:LONGEST_GROUP] for value in values]
    known = [value or UNKNOWN for value in values]
    if column == SOURCE:
        return np.array(known)
    frequent = {value for value, _ in Counter(filter(None, values)).most_common(MOST_GROUPS)}
    frequent.add(UNKNOWN)
    return np.array([value if value in frequent else OTHERS for value in known])


def age_band(age: float | None) -> str:
    """Years → such as "45–59". HAM10000's age 0 stands for unknown: nobody there is a newborn."""
    if not age:
        return UNKNOWN
    start, end = next(band for band in AGE_BANDS if band[0] <= age < band[1])
    return f"{start}+" if end == AGE_BANDS[-1][1] else f"{start}–{end - 1}"
