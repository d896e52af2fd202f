"""Listed files → small pictures for people, or why there are none."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from skinclf.archives.decoding import Decoding, Entry
from skinclf.archives.files import StorageFile
from skinclf.archives.isolation import IsolatedDecoder
from skinclf.archives.listing import iter_images
from skinclf.archives.reader import PLAIN, SPARK
from skinclf.config.schema import ArchiveConfig
from skinclf.errors import SkinclfError, StorageUnavailable, UsageError
from skinclf.spec.image import decode_thumbnail
from skinclf.spec.rejects import RejectedImage

SIDE = 192
"""Pixels of a thumbnail each way."""

QUALITY = 75
"""Of the JPEG: some 4 kB."""

STORAGE_ERRORS = 3
"""In a row; then the storage is taken for gone: each one waits for several tries."""

BY_CONTENT = re.compile("[0-9a-f]{64}")
"""A version that `score.compare_content` made."""

BY_TIME_AND_SIZE = re.compile(r"\d+-\d+")
"""A version as `files.version_of` makes it."""


class Thumbnail(NamedTuple):
    """A picture, or the reason why there is none (as of a reject) with its detail."""

    jpeg: bytes | None
    reason: str = ""
    detail: str = ""


def thumbnails(entries: Iterable[Entry], limits: ArchiveConfig) -> Iterator[tuple[str, Thumbnail]]:
    """Rows of LISTING → `source` and thumbnail of each, neighbors in an archive together.

    Files are decoded within the limits and in another process: one that can't be read, or that
    ends its decoder, has no picture, and nothing is raised.
    """
    decode = partial(
        decode_thumbnail, side=SIDE, max_pixels=limits.max_pixels, formats=limits.formats
    )
    limits = limits.model_copy(update={"storage_errors": "reject"})
    ordered = sorted(entries, key=lambda row: (row["file"], row["offset"] or 0, row["source"]))
    failures = 0
    with IsolatedDecoder(Decoding(limits, decode)) as decoder:
        for file, rows in groupby(ordered, itemgetter("file")):
            for entry in _as_they_lie_now(file, list(rows)) if failures < STORAGE_ERRORS else rows:
                if failures == STORAGE_ERRORS:
                    why = "storage_error", "the storage failed before"
                    yield entry["source"], Thumbnail(None, *why)
                    continue
                thumbnail = _thumbnail(entry, decoder)
                failures = failures + 1 if thumbnail.reason == "storage_error" else 0
                yield entry["source"], thumbnail


def _as_they_lie_now(file: str, rows: list[Entry]) -> list[Entry]:
    """Rows of one file; where that is a zip or tar that was rewritten since, with the places that
    its members have now. What is not the same member by now keeps its row, and is `changed` when
    it is read; so is the second of one name.
    """
    if rows[0]["kind"] in (*PLAIN, "parquet"):  # of Parquet, rows have no version of their own
        return rows
    wanted = {(row["source"], row["version"]) for row in rows}
    now: dict[tuple[str, str], Entry] = {}
    # What can't be listed has no picture: reading it says why.
    with suppress(RejectedImage, SkinclfError, pa.ArrowException, OSError, ValueError):
        with StorageFile(file) as opened:
            version = opened.version()
        if any(row["file_version"] != version for row in rows):
            for listed in iter_images([file]):
                key = listed["source"], listed["version"]
                if key in wanted:
                    now[key] = listed
                if len(now) == len(wanted):
                    break
    return [row | now.get((row["source"], row["version"]), {}) for row in rows]


def _thumbnail(entry: Entry, decoder: IsolatedDecoder) -> Thumbnail:
    try:
        _check_unchanged(entry)
    except RejectedImage as rejected:
        return Thumbnail(None, rejected.reason, rejected.detail)
    except StorageUnavailable as error:
        return Thumbnail(None, "storage_error", str(error))
    except UsageError as error:  # storage that only Spark reaches
        return Thumbnail(None, "unreadable", str(error))
    if entry["kind"] == SPARK:  # pyarrow may reach what Spark has listed
        entry = entry | {"kind": "file"}
    (row,) = decoder.rows([entry])
    if "pixels" not in row:
        return Thumbnail(None, row["reason"], row["detail"])
    pixels = np.frombuffer(row["pixels"], np.uint8).reshape(SIDE, SIDE, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return Thumbnail(file.getvalue())


def _check_unchanged(entry: Entry) -> None:
    """Raise RejectedImage `changed` for a file that is not what was listed, or `vanished`.

    Of members, the reader checks their archive.
    """
    version = entry["version"] or ""
    by_content = BY_CONTENT.fullmatch(version)
    by_time = BY_TIME_AND_SIZE.fullmatch(version)
    if entry["kind"] not in ("file", SPARK) or not (by_content or by_time):
        return
    with StorageFile(entry["file"]) as file:
        if entry["size"] not in (None, file.size):  # not read, however large it is by now
            now = ""
        elif by_content:
            now = hashlib.sha256(file.read_at(file.size, 0)).hexdigest()
        else:
            now = file.version()
            if entry["kind"] == SPARK:  # Hadoop's times have no more than microseconds
                now, version = _in_seconds(now), _in_seconds(version)
        if now != version:
            raise RejectedImage("changed", "the file was rewritten after it was listed")


def _in_seconds(version: str) -> str:
    """A version by time and size, with the time in whole seconds: all that any storage keeps."""
    changed, _, size = version.partition("-")
    return f"{int(changed) // 10**9}-{size}"
