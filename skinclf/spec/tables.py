"""The tables on storage, declared once: as Arrow schemas, from which Spark's are derived."""

import pyarrow as pa

from skinclf.spec.taxonomy import Taxonomy, probability_column

TENSORS = pa.schema(
    [
        ("image_id", pa.string()),
        ("lesion_id", pa.string()),
        ("dx", pa.string()),
        ("label", pa.int32()),
        ("dx_type", pa.string()),
        ("age", pa.float32()),
        ("sex", pa.string()),
        ("localization", pa.string()),
        ("dataset", pa.string()),
        ("source", pa.string()),
        ("digest", pa.string()),
        ("perceptual_hash", pa.int64()),
        ("brightness", pa.float64()),
        ("thumbnail", pa.binary()),
        ("pixels", pa.binary()),
    ]
)
"""One row an image; `split` is the folder in which its file lies (split=train)."""

MEANINGS = {
    "image_id": "the file's name without its ending; with a folder for each class, its path",
    "lesion_id": "the lesion that the image shows; null where the metadata has none",
    "dx": "the code of the diagnosis",
    "label": "the place of `dx` among the codes, from 0",
    "dx_type": "how the diagnosis was made, such as `histo`",
    "age": "years; null where unknown",
    "sex": "in lower case; null where unknown",
    "localization": "the place on the body, in lower case; null where unknown",
    "dataset": "where the image comes from, such as a hospital; null where unknown",
    "source": "the file's URI; a member of an archive is `archive.zip!/member.jpg`",
    "digest": "SHA-256 of the file's bytes, hexadecimal",
    "perceptual_hash": "64 bits, signed: near duplicates differ in few of them",
    "brightness": "the mean of the thumbnail, 0 to 255",
    "thumbnail": "24 x 18 RGB, row by row, one byte a value",
    "pixels": "height x width x channels, RGB, row by row, one byte a value",
    "reason": "one of the reasons below",
    "detail": "what was found, with its place; null where the reason says it all",
    "predicted": "the code that is decided on: the most probable class, or by `decision.json`",
    "model": "SHA-256 of `model.keras`, hexadecimal",
}
"""What columns of all tables hold, with units; probabilities are named by their class."""

LIKENESS = ("perceptual_hash", "brightness", "thumbnail")
"""The columns of TENSORS that datasets of format 1 lack."""

PLANNED = tuple(n for n in TENSORS.names if n not in {*LIKENESS, "digest", "pixels"})
"""The columns of TENSORS that are known before the file is read."""

REJECTS = pa.schema(
    [
        ("source", pa.string()),
        ("image_id", pa.string()),
        ("reason", pa.string()),
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
            ("predicted", pa.string()),
            ("model", pa.string()),
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
