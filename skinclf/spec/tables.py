"""The tables on storage, declared once: as Arrow schemas, from which Spark's are derived."""

import pyarrow as pa

from skinclf.spec.taxonomy import CODES, probability_column

HEIGHT, WIDTH, CHANNELS = 75, 100, 3
"""The network's input, as in Benbrahim, Hachimi and Amine (2020)."""

PIXEL_BYTES = HEIGHT * WIDTH * CHANNELS

REASONS = {
    "unreadable": "the file is not an image that can be decoded, or its bytes can't be read",
    "truncated": "the image data ends before the image does",
    "empty": "the file has no bytes",
    "unsupported": "a kind of archive, compression or pixel format that is not read",
    "not_a_file": "a link, folder, device, FIFO or socket where a file is due",
    "nested_archive": "an archive inside an archive, which is not opened",
    "too_large": "more bytes or pixels than archive.max_file_bytes / max_pixels allow",
    "timeout": "decoding took longer than archive.max_decode_seconds",
    "crashed": "decoding ended its process, twice",
    "vanished": "the file was gone when it was read",
    "changed": "its archive was rewritten after it was listed; the next job reads it",
    "storage_error": "the storage failed, and archive.storage_errors allows to go on",
    "no_metadata": "no metadata row has this image_id",
    "no_image": "a metadata row whose image is not in the archive",
    "malformed_row": "a metadata row with another number of fields than the header",
    "unknown_dx": "the diagnosis is none of the seven codes",
    "duplicate_id": "another input with this image_id was taken instead",
    "conflicting_metadata": "metadata rows for this image_id contradict each other",
}
"""Why an input did not become a tensor or a score: the vocabulary of `rejects.reason`."""

TENSORS = pa.schema(
    [
        ("image_id", pa.string()),
        ("lesion_id", pa.string()),
        ("dx", pa.string()),
        ("label", pa.int32()),  # 0–6, the position in labels.CODES
        ("dx_type", pa.string()),
        ("age", pa.float32()),  # years; null where unknown
        ("sex", pa.string()),
        ("localization", pa.string()),
        ("dataset", pa.string()),
        (
            "source",
            pa.string(),
        ),  # URI; a member of an archive is archive.zip!/member.jpg
        ("digest", pa.string()),  # SHA-256 of the file's bytes, hexadecimal
        (
            "pixels",
            pa.binary(),
        ),  # PIXEL_BYTES of uint8, RGB, row-major height x width x channels
    ]
)
"""One row an image; stored under the partition columns `split` and `shard`."""

REJECTS = pa.schema(
    [
        ("source", pa.string()),
        ("image_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""One row for every input that became nothing else."""

READ_AGAIN = ("changed", "storage_error")
"""Reasons that say nothing of the image: each later scoring tries such inputs again."""

PROBABILITIES = pa.schema([(probability_column(code), pa.float32()) for code in CODES])
"""The softmax outputs in class order."""

SCORES = pa.schema(
    [
        ("source", pa.string()),
        ("image_id", pa.string()),
        *PROBABILITIES,
        ("predicted", pa.string()),  # the code with the highest probability
        ("model", pa.string()),  # SHA-256 of model.keras, hexadecimal
    ]
)
"""One row an image that the model has seen."""

TENSOR_METADATA = tuple(n for n in TENSORS.names if n not in {"source", "image_id", "pixels"})
"""What a prediction carries over from its tensor: the truth and the patient groups."""

PREDICTIONS = pa.schema([*SCORES, *(TENSORS.field(name) for name in TENSOR_METADATA)])
"""SCORES with the truth beside it, written by evaluate."""
