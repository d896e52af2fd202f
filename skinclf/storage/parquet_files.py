"""Parquet files of a few columns, written, read and merged in pieces: memory stays flat."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skinclf.storage.files import REQUESTS_AT_A_TIME, new_file, open_file

ROWS_A_GROUP = 16_384
"""Of scores: some 4 MB in memory. Of four times as many, the allocator keeps 60 MB."""

REPEATING = ["predicted", "model", "reason", "kind", "file_version"]
"""Columns of few different values. A dictionary of the others would be as long as they are."""

Rows = dict[int, pa.Array]
"""Row group → which of its rows, as a mask."""


class TableWriter:
    """Rows that become row groups of `rows_a_group` each, however they arrive."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, rows_a_group: int) -> None:
        self._writer, self._schema, self._rows_a_group = writer, schema, rows_a_group
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        """Append rows of the file's schema."""
        self._waiting.append(rows.cast(self._schema))
        self.rows += len(rows)
        while sum(map(len, self._waiting)) >= self._rows_a_group:
            self._write(self._rows_a_group)

    def flush(self) -> None:
        """Write what is left as a row group."""
        if any(map(len, self._waiting)):
            self._write(self._rows_a_group)

    def _write(self, count: int) -> None:
        table = pa.concat_tables(self._waiting)
        self._writer.write_table(table.slice(0, count), row_group_size=count)
        self._waiting = [table.slice(count)]


@contextmanager
def table_writer(
    path: str,
    schema: pa.Schema,
    rows_a_group: int = ROWS_A_GROUP,
    repeating: Sequence[str] = REPEATING,
    compared: Sequence[str] | None = None,
) -> Iterator[TableWriter]:
    """What adds rows to a new file at `path`; gone if the block fails.

    Columns that are `repeating` get a dictionary, those that are `compared` (None: all) statistics.
    """
    with (
        new_file(path) as stream,
        pq.ParquetWriter(
            stream,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in repeating if name in schema.names],
            write_statistics=True if compared is None else list(compared),  # type: ignore[arg-type]
        ) as writer,
    ):
        table = TableWriter(writer, schema, rows_a_group)
        yield table
        table.flush()


def write_parquet(
    path: str, tables: Iterable[pa.Table], schema: pa.Schema, rows_a_group: int = ROWS_A_GROUP
) -> int:
    """Write tables one behind the other into a new file at `path` → its rows."""
    with table_writer(path, schema, rows_a_group) as file:
        for table in tables:
            file.add(table)
    return file.rows


@contextmanager
def opened(path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file to read from."""
    with open_file(path) as file:
        yield pq.ParquetFile(file)


def column_names(path: str) -> list[str]:
    """The columns of a file."""
    with opened(path) as file:
        return list(file.schema_arrow.names)


def iter_tables(path: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A file's rows, one row group at a time."""
    with opened(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns, use_threads=False)


def iter_batches(path: str, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Columns of a file, at most `rows` rows at a time."""
    with opened(path) as file:
        yield from file.iter_batches(rows, columns=list(columns))


def read_rows(path: str, start: int, rows: int) -> pa.Table:
    """So many neighboring rows, read from the row groups that hold them."""
    with opened(path) as file:
        groups, first, skipped = [], 0, 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if first + count <= start:
                skipped += count
            elif first < start + rows:
                groups.append(group)
            first += count
        return file.read_row_groups(groups).slice(start - skipped, rows)


def count_rows(paths: Sequence[str]) -> int:
    """The rows of files, by their footers."""

    def rows(path: str) -> int:
        with opened(path) as file:
            return int(file.metadata.num_rows)

    with ThreadPoolExecutor(REQUESTS_AT_A_TIME) as pool:
        return sum(pool.map(rows, paths))


def count_values(paths: Sequence[str], column: str) -> Counter[str]:
    """How often each value of a column is in files."""

    def values(path: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for table in iter_tables(path, [column]):
            found.update(counted(table[column]))
        return found

    with ThreadPoolExecutor(REQUESTS_AT_A_TIME) as pool:
        return sum(pool.map(values, paths), Counter())


def rows_with(path: str, values: pa.Array, name: str = "source") -> Rows:
    """Where a file has one of `values` in the column `name`.

    Row groups whose statistics exclude them are not read: rows are nearly in the order of the
    listing, so that those of neighbors in it are in few.
    """
    found: Rows = {}
    if not len(values):
        return found
    least, most = pc.min_max(values).as_py().values()
    with opened(path) as file:
        place = file.schema_arrow.get_field_index(name)
        for group in range(file.num_row_groups):
            said = file.metadata.row_group(group).column(place).statistics
            if said and said.has_min_max and (said.max < least or said.min > most):
                continue
            column = file.read_row_group(group, columns=[name])[name]
            mask = pc.is_in(column.combine_chunks(), value_set=values)
            if mask.true_count:
                found[group] = mask
    return found


def iter_rows_with(
    path: str, values: pa.Array, name: str, columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Some columns of a file's rows that have one of `values` in the column `name`.

    Other columns are read only where there are such rows.
    """
    found = rows_with(path, values, name)
    if not found:
        return
    with opened(path) as file:
        for group, mask in found.items():
            yield file.read_row_group(group, columns=list(columns), use_threads=False).filter(mask)


def split_tables(path: str, marked: Mapping[int, pa.Array]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Of each row group of a file the rows that are not marked, and those that are."""
    with opened(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            mask = marked.get(group)
            if mask is None:
                yield table, table.slice(0, 0)
            else:
                yield table.filter(pc.invert(mask)), table.filter(mask)


def counted(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value is in a column."""
    return {row["values"]: row["counts"] for row in column.value_counts().to_pylist()}
