"""Text columns of a table that a spreadsheet may open."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame

from skinclf.system.text import harmless_cell


def harmless(table: DataFrame) -> DataFrame:
    """The table with all text made harmless for a CSV: see harmless_cell."""

    def cells(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            columns = [
                pa.array(
                    [text if text is None else harmless_cell(text) for text in column.to_pylist()],
                    column.type,
                )
                if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
                else column
                for column in batch.columns
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    return table.mapInArrow(cells, table.schema)
