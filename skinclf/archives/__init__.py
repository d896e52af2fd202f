"""Folders, zip, tar and Parquet files, lists of URIs → a listing that splits into tasks.

Nothing is ever extracted: a zip's members are listed from its central directory, a tar's by one
pass over its headers, and both are read in place by byte range, so that all cores share one
large archive. One abstraction for prepare and score.
"""

from skinclf.archives.listing import (
    LIKE_REPEATED,
    LISTING,
    REPEATED,
    check_apart,
    check_paths,
    iter_images,
    list_images,
    listing_of,
)
from skinclf.archives.names import Selection
from skinclf.archives.reader import ArchiveReader

__all__ = [
    "LIKE_REPEATED",
    "LISTING",
    "REPEATED",
    "ArchiveReader",
    "Selection",
    "check_apart",
    "check_paths",
    "iter_images",
    "list_images",
    "listing_of",
]
