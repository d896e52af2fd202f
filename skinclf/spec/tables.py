"""The tables on storage, declared once: as Arrow schemas, from which Spark's are derived."""

import pyarrow as pa

from skinclf.spec.taxonomy import Taxonomy, probability_column

TENSORS = pa.schema(
    [
        ("image_id", pa.string()),
        ("lesion_id", pa.string()),
        ("dx", pa.string()),
        ("label", pa.int32()),  # the position of dx in the taxonomy's codes
        ("dx_type", pa.string()),
        ("age", pa.float32()),  # years; null where unknown
        ("sex", pa.string()),
        ("localization", pa.string()),
        ("dataset", pa.string()),
        ("source", pa.string()),  # URI; a member of an archive is archive.zip!/member.jpg
        ("digest", pa.string()),  # SHA-256 of the file's bytes, hexadecimal
        ("perceptual_hash", pa.int64()),  # these three: see likeness.Likeness
        ("brightness", pa.float64()),
        ("thumbnail", pa.binary()),
        ("pixels", pa.binary()),  # ImageSpec.size_bytes of uint8: height x width x channels, RGB
    ]
)
"""One row an image; `split` is the folder in which its file lies (split=train)."""

LIKENESS = ("perceptual_hash", "brightness", "thumbnail")
"""The columns of TENSORS that datasets of format 1 lack."""

PLANNED = tuple(n for n in TENSORS.names if n not in {*LIKENESS, "digest", "pixels"})
"""The columns of TENSORS that are known before the file is read."""

REJECTS = pa.schema(
    [
        ("source", pa.string()),
        ("image_id", pa.string()),
        ("reason", pa.string()),  # one of rejects.REASONS
        ("detail", pa.string()),
    ]
)
"""One row for every input that became nothing else."""

TENSOR_METADATA = tuple(
    n for n in TENSORS.names if n not in {"source", "image_id", "pixels", *LIKENESS}
)
"""What a prediction carries over from its tensor: the truth and the patient groups."""


def prediction_schema(taxonomy: Taxonomy) -> pa.Schema:
    """What comes from the model: the softmax outputs in class order, and what follows from them."""
    probabilities = [(probability_column(code), pa.float32()) for code in taxonomy.codes]
    return pa.schema(
        [
            *probabilities,
            ("predicted", pa.string()),  # the code that is decided on: see spec.decision
            ("model", pa.string()),  # SHA-256 of model.keras, hexadecimal
        ]
    )


def scores_schema(taxonomy: Taxonomy) -> pa.Schema:
    """One row an image that the model has seen."""
    return pa.schema(
        [("source", pa.string()), ("image_id", pa.string()), *prediction_schema(taxonomy)]
    )


def outcomes_schema(taxonomy: Taxonomy) -> pa.Schema:
    """A score, or the reason why there is none: one row a listed file."""
    fields = (REJECTS.field("reason"), REJECTS.field("detail"))
    return pa.schema([*scores_schema(taxonomy), *fields])


def predictions_schema(taxonomy: Taxonomy) -> pa.Schema:
    """Scores with the truth beside them, written by evaluate."""
    return pa.schema([*scores_schema(taxonomy), *(TENSORS.field(name) for name in TENSOR_METADATA)])
