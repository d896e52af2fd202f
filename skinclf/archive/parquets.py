"""Parquet files with image files in a column, as Hugging Face and Spark write them."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skinclf.archive.files import StorageFile
from skinclf.archive.names import text_of
from skinclf.errors import RejectedImage

FORMS = {
    # form: (column of the bytes, column of the name), as paths within the schema
    "Hugging Face's image": ("image.bytes", "image.path"),
    "Spark's binaryFile": ("content", "path"),
}
PARQUET_ERRORS = (OSError, ValueError, MemoryError, pa.ArrowException)
"""What a damaged Parquet file raises; the storage's own errors are none of these."""

BATCH_ROWS = 16
"""Images that are held at a time: a row group may hold gigabytes of them."""


def rows(file: str) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file with their `name`; of any other file, why it has none."""
    with StorageFile(file) as opened:
        version = opened.stat().version
        try:
            parquet = pq.ParquetFile(opened)
            form = _form(parquet)
            if form is None:
                known = " or ".join(f"{' and '.join(FORMS[name])} ({name})" for name in FORMS)
                detail = f"a Parquet file without images: expected the columns {known}"
                yield {"reason": "unreadable", "detail": detail}
                return
            number = 0
            for batch in parquet.iter_batches(columns=[form[1]]):
                for name in _leaf(batch, form[1]).to_pylist():
                    yield {
                        "name": f"{number}/{_last_part(name) or number}",
                        "kind": "parquet",
                        "offset": number,
                        "file_version": version,
                        "version": version,
                    }
                    number += 1
        except PARQUET_ERRORS as error:
            yield {"reason": "unreadable", "detail": f"not a readable Parquet file: {error}"}


def _last_part(name: str | bytes | None) -> str:
    text = text_of(name) if isinstance(name, bytes) else str(name or "")
    return text.rpartition("/")[2]


class RowReader:
    """Reads the images of one Parquet file by row number; fast in ascending order."""

    def __init__(self, file: StorageFile) -> None:
        self._parquet = pq.ParquetFile(file)
        form = _form(self._parquet)
        if form is None:
            raise RejectedImage("unreadable", "the Parquet file has no images any more")
        self._column = form[0]
        self._images = self._from_group(0)
        self._next = 0

    def read(self, number: int) -> bytes:
        """The bytes in row `number`. Raises RejectedImage where there are none."""
        group, first = self._group_of(number)
        if number < self._next or first > self._next:
            self._images, self._next = self._from_group(group), first
        for image in self._images:
            self._next += 1
            if self._next == number + 1:
                if image is None:
                    raise RejectedImage("empty", "the row has no bytes")
                return image
        raise RejectedImage("unreadable", f"the Parquet file has no row {number} any more")

    def _group_of(self, number: int) -> tuple[int, int]:
        """(row group, number of its first row) of a row."""
        first = 0
        for group in range(self._parquet.num_row_groups):
            count = self._parquet.metadata.row_group(group).num_rows
            if number < first + count:
                return group, first
            first += count
        raise RejectedImage("unreadable", f"the Parquet file has no row {number} any more")

    def _from_group(self, group: int) -> Iterator[bytes | None]:
        groups = range(group, self._parquet.num_row_groups)
        for batch in self._parquet.iter_batches(
            BATCH_ROWS, row_groups=groups, columns=[self._column]
        ):
            yield from _leaf(batch, self._column).to_pylist()


def _form(parquet: pq.ParquetFile) -> tuple[str, str] | None:
    columns = {parquet.schema.column(n).path for n in range(len(parquet.schema))}
    return next((form for form in FORMS.values() if columns >= set(form)), None)


def _leaf(batch: pa.RecordBatch, path: str) -> pa.Array:
    """A column of a batch, which may be one field of a struct."""
    name, _, field = path.partition(".")
    column = batch[name]
    return column.field(field) if field else column
