"""Listed files → decoded rows: the boundary of one image, beyond which none of its errors goes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf.archives import ArchiveReader
from skinclf.config.schema import ArchiveConfig
from skinclf.errors import StorageUnavailable
from skinclf.spec.image import decode_rgb
from skinclf.spec.image_spec import BENBRAHIM_2020, ImageSpec
from skinclf.spec.rejects import RejectedImage
from skinclf.system.time_limit import TimeUp, time_limit

Decode = Callable[[bytes], NDArray[np.uint8]]
"""An image file → pixels (height, width, 3) uint8, RGB; raises RejectedImage."""

Entry = dict[str, Any]
"""A row of LISTING with `row`, and with `content` where Spark has read the file."""


def row_of(entry: Entry) -> dict[str, Any]:
    """What a decoded row has of its entry: `row`, `source` and `image_id`."""
    return {name: entry.get(name) for name in ("row", "source", "image_id")}


@dataclass(frozen=True)
class Decoding:
    """How tasks decode: the limits of the config and the decoder, which tests replace."""

    limits: ArchiveConfig
    decode: Decode | None = None  # None: decode_rgb with the limits
    image: ImageSpec = BENBRAHIM_2020
    digests: bool = False  # whether rows get the SHA-256 of the file

    def array(self, file: bytes) -> NDArray[np.uint8]:
        """One image file as pixels. Raises RejectedImage, and whatever a decoder raises."""
        if self.decode is not None:
            return self.decode(file)
        return decode_rgb(
            file, self.image, max_pixels=self.limits.max_pixels, formats=self.limits.formats
        )


def decoded_row(
    entry: Entry, reader: ArchiveReader, decoding: Decoding, *, end_process: bool = False
) -> dict[str, Any]:
    """One listed file → `row`, `source`, `image_id` and either `pixels` or `reason`, `detail`.

    Whatever reading and decoding raise becomes a reject, but the storage's own errors: they are
    no property of the image. Raises StorageUnavailable unless `archive.storage_errors` is
    "reject". `end_process`: see time_limit.
    """
    row = row_of(entry)
    try:
        reject = _decode_into(row, entry, reader, decoding, end_process=end_process)
    except StorageUnavailable as error:
        if decoding.limits.storage_errors == "fail":
            raise
        reject = RejectedImage("storage_error", str(error))
    return row | {"reason": reject.reason, "detail": reject.detail} if reject else row


def _decode_into(
    row: dict[str, Any],
    entry: Entry,
    reader: ArchiveReader,
    decoding: Decoding,
    *,
    end_process: bool,
) -> RejectedImage | None:
    """Add `digest` and `pixels` to `row`, or return why not. Raises StorageUnavailable."""
    seconds = decoding.limits.max_decode_seconds
    try:
        file = reader.read(entry)
        if decoding.digests:
            row["digest"] = hashlib.sha256(file).hexdigest()
        with time_limit(seconds, end_process=end_process):
            row["pixels"] = decoding.array(file).tobytes()
        return None
    except RejectedImage as rejected:
        reject = rejected
    except TimeUp:
        reject = RejectedImage("timeout", f"not decoded within {seconds:g} s")
    except StorageUnavailable:  # no fault of the image's
        raise
    except Exception as error:  # any: one image must not end the job
        reject = RejectedImage("unreadable", f"{type(error).__name__}: {error}")
    try:
        reader.check_unchanged(entry)  # else the fault is not the image's
    except RejectedImage as changed:
        return changed
    return reject
