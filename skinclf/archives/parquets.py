"""Parquet files with image files in a column, as Hugging Face and Spark write them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skinclf.archives.files import StorageFile
from skinclf.archives.names import text_of
from skinclf.spec.rejects import RejectedImage

FORMS = {
    # form: (column of the bytes, column of the name), as paths within the schema
    "Hugging Face's image": ("image.bytes", "image.path"),
    "Spark's binaryFile": ("content", "path"),
}
ENDINGS = {".parquet": "parquet"}

PARQUET_ERRORS = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError),
    pa.ArrowException,
)
"""What a damaged Parquet file raises; the storage's own errors are none of these."""

NAMES = 256
"""Names that are held at a time."""

LONGEST_NAME = 1000
"""Characters; a longer one is no name of a file."""

LARGE = 4 * 2**20
"""Bytes of a row, in the mean, above which rows are read one by one."""

BATCH_ROWS = 16
"""Images that are held at a time: a row group may hold gigabytes of them."""


def rows(file: str) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file with their `name`; of any other file, why it has none."""
    with StorageFile(file) as opened:
        version = opened.version()
        try:
            plain = pq.ParquetFile(opened)
            form = _form(plain)
            if form is None:
                known = " or ".join(f"{' and '.join(FORMS[name])} ({name})" for name in FORMS)
                detail = f"a Parquet file without images: expected the columns {known}"
                yield {"reason": "unreadable", "detail": detail}
                return
            parquet = _opened(opened, plain, form[1])
            number = 0
            for batch in parquet.iter_batches(NAMES, columns=[form[1]]):
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
    last = text.rpartition("/")[2]
    return last if len(last) <= LONGEST_NAME else ""


def reader(file: StorageFile, _kind: str, max_bytes: int) -> Callable[[Mapping[str, Any]], bytes]:
    """What reads the image in one row of an open Parquet file."""
    images = RowReader(file, max_bytes)
    return lambda entry: images.read(entry["offset"])


class RowReader:
    """Reads the images of one Parquet file by row number; fast in ascending order."""

    def __init__(self, file: StorageFile, max_file_bytes: int) -> None:
        plain = pq.ParquetFile(file)
        form = _form(plain)
        if form is None:
            raise RejectedImage("unreadable", "the Parquet file has no images any more")
        self._column, self._limit = form[0], max_file_bytes
        self._parquet = _opened(file, plain, self._column)
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
                return self._bytes(image)
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

    def _from_group(self, group: int) -> Iterator[pa.Scalar]:
        for number in range(group, self._parquet.num_row_groups):
            rows = self._rows_at_once(self._parquet.metadata.row_group(number))
            for batch in self._parquet.iter_batches(
                rows, row_groups=[number], columns=[self._column]
            ):
                yield from _leaf(batch, self._column)

    def _rows_at_once(self, group: pq.RowGroupMetaData) -> int:
        """One row, if rows are large or if a dictionary, of a struct's field, is read as values."""
        chunks = (group.column(place) for place in range(group.num_columns))
        (encodings,) = (c.encodings for c in chunks if c.path_in_schema == self._column)
        expanded = "." in self._column and any("DICTIONARY" in name for name in encodings)
        large = group.total_byte_size > LARGE * group.num_rows
        return 1 if expanded or large else BATCH_ROWS

    def _bytes(self, image: pa.Scalar) -> bytes:
        """The bytes of a value; its size is known before they are copied."""
        value = image.value if isinstance(image, pa.DictionaryScalar) else image
        if value is None or not value.is_valid:
            raise RejectedImage("empty", "the row has no bytes")
        size = value.as_buffer().size
        if size > self._limit:
            raise RejectedImage("too_large", f"{size} bytes, at most {self._limit} taken")
        return bytes(value.as_py())


def _opened(file: StorageFile, plain: pq.ParquetFile, column: str) -> pq.ParquetFile:
    """The file so that `column`, if it is a dictionary, stays one: its values may be more than
    memory holds. Arrow can't do so with fields of structs.
    """
    if "." in column:
        return plain
    return pq.ParquetFile(file, metadata=plain.metadata, read_dictionary=[column])


def _form(parquet: pq.ParquetFile) -> tuple[str, str] | None:
    schema = parquet.schema_arrow
    return next((form for form in FORMS.values() if all(_has(schema, p) for p in form)), None)


def _has(schema: pa.Schema, path: str) -> bool:
    """Whether a file has a column, or a field of a struct, exactly once."""
    name, _, field = path.partition(".")
    if len(schema.get_all_field_indices(name)) != 1:
        return False
    kind = schema.field(name).type
    return not field or (pa.types.is_struct(kind) and len(kind.get_all_field_indices(field)) == 1)


def _leaf(batch: pa.RecordBatch, path: str) -> pa.Array:
    """A column of a batch, which may be one field of a struct."""
    name, _, field = path.partition(".")
    column = batch[name]
    return column.field(field) if field else column
