"""Parquet files of a few columns, written, read and merged in pieces: memory stays flat."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skinclf.storage.files import REQUESTS_AT_A_TIME, locate, output_stream

ROWS_A_GROUP = 16_384
"""Of scores: some 4 MB in memory. Of four times as many, the allocator keeps 60 MB."""

REPEATING = ["predicted", "model", "reason", "kind", "file_version"]
"""Columns of few different values. A dictionary of the others would be as long as they are."""

Rows = dict[int, pa.Array]
"""Row group → which of its rows, as a mask."""


@contextmanager
def table_writer(
    path: str, schema: pa.Schema, rows_a_group: int = ROWS_A_GROUP
) -> Iterator[Callable[[pa.Table], None]]:
    """What adds rows to a new file at `path`; row groups are full but for the last."""
    waiting: list[pa.Table] = []

    def flush(writer: pq.ParquetWriter) -> None:
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=rows_a_group)
            waiting.clear()

    with (
        output_stream(path) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=REPEATING) as writer,
    ):

        def add(table: pa.Table) -> None:
            waiting.append(table)
            if sum(part.num_rows for part in waiting) >= rows_a_group:
                flush(writer)

        yield add
        flush(writer)


def write_parquet(
    path: str, tables: Iterable[pa.Table], schema: pa.Schema, rows_a_group: int = ROWS_A_GROUP
) -> int:
    """Write tables one behind the other into a new file at `path` → its rows."""
    rows = 0
    with table_writer(path, schema, rows_a_group) as add:
        for table in tables:
            rows += table.num_rows
            add(table)
    return rows


@contextmanager
def opened(path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file to read from."""
    file_system, inner = locate(path)
    with file_system.open_input_file(inner) as file:
        yield pq.ParquetFile(file)


def iter_tables(path: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A file's rows, one row group at a time."""
    with opened(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns, use_threads=False)


def read_rows(path: str, start: int, rows: int) -> pa.Table:
    """So many neighbouring rows, read from the row groups that hold them."""
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


def rows_with(path: str, sources: pa.Array) -> Rows:
    """Where a file has one of `sources`.

    Row groups whose statistics exclude them are not read: rows are nearly in the order of the
    listing, so that those of neighbours in it are in few.
    """
    least, most = pc.min_max(sources).as_py().values()
    found: Rows = {}
    with opened(path) as file:
        place = file.schema_arrow.get_field_index("source")
        for group in range(file.num_row_groups):
            said = file.metadata.row_group(group).column(place).statistics
            if said and said.has_min_max and (said.max < least or said.min > most):
                continue
            column = file.read_row_group(group, columns=["source"])["source"]
            mask = pc.is_in(column.combine_chunks(), value_set=sources)
            if mask.true_count:
                found[group] = mask
    return found


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
