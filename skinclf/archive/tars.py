"""Tar files: members listed by one pass over the headers, read by byte range."""

import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from skinclf.storage import locate

TAR_ERRORS = (OSError, EOFError, zlib.error, tarfile.TarError, pa.ArrowInvalid)
"""What reading a damaged tar or gzip file raises."""


def members(file: str) -> Iterator[dict[str, Any]]:
    """The files in a tar with their `name`, then a defect where it is damaged.

    A tar that gzip has packed is unpacked once for this, and again by each task that reads of
    it: gzip has no places to enter at.
    """
    packed = not file.lower().endswith(".tar")
    kind = "tar.gz" if packed else "tar"
    file_system, inner = locate(file)
    try:
        with (
            file_system.open_input_file(inner) as opened,
            tarfile.open(fileobj=opened, mode="r:gz" if packed else "r:") as archive,
        ):
            for member in archive:
                if member.isreg():
                    yield {
                        "name": member.name,
                        "kind": kind,
                        "size": member.size,
                        "offset": member.offset_data,
                        "stamp": f"{member.mtime}-{member.size}",
                    }
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
    except TAR_ERRORS as error:
        yield {"defect": f"not a readable {kind} file: {error}"}
