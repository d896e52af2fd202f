"""The content of files as their version, for archives whose modification times do not change."""

import hashlib
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame

from skinclf.archives import ArchiveReader
from skinclf.config.schema import ArchiveConfig
from skinclf.errors import StorageUnavailable
from skinclf.spec.rejects import RejectedImage

CHECKED = ("file", "tar", "parquet")
"""Beginnings of LISTING.kind; a zip has checksums of its own."""


UNREAD = ("unreadable", "vanished", "changed")
"""Reasons of a reject after which nobody knows the file's bytes."""


def with_content_versions(listing: DataFrame, archive: ArchiveConfig) -> DataFrame:
    """LISTING whose `version` is the SHA-256 of each file's bytes: all of them are read for it.

    What is not read at all keeps its version: a reject of the listing, a file above the limits. A
    file that can't be read now has none: nobody knows whether it has changed. So has one whose
    storage fails if `archive.storage_errors` is "reject"; else that raises StorageUnavailable in
    the task.
    """
    goes_on = archive.storage_errors == "reject"

    def checked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with ArchiveReader(archive.max_file_bytes) as reader:
            for batch in batches:
                versions = [_version(entry, reader, goes_on=goes_on) for entry in batch.to_pylist()]
                place = batch.schema.get_field_index("version")
                yield batch.set_column(place, "version", pa.array(versions, pa.string()))

    return listing.mapInArrow(checked, listing.schema)


def _version(entry: dict[str, str], reader: ArchiveReader, *, goes_on: bool) -> str | None:
    if entry["reason"] is not None or not entry["kind"].startswith(CHECKED):
        return entry["version"]
    try:
        return hashlib.sha256(reader.read(entry)).hexdigest()
    except RejectedImage as rejected:
        return None if rejected.reason in UNREAD else entry["version"]
    except StorageUnavailable:
        if goes_on:
            return None
        raise
