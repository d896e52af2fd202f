"""Planned files → tensors on storage. Tasks read, decode and write; pixels never cross the JVM."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.archives import LISTING
from skinclf.archives.decoding import Decoding, Entry, row_of
from skinclf.spark.decoding import Decoder, row_decoder
from skinclf.spark.plan import PART, SPLIT, Plan
from skinclf.spark.reading import read_parquet
from skinclf.spark.versions import table_of
from skinclf.spec.image import pixels_array
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.likeness import likeness
from skinclf.spec.tables import LIKENESS, PLANNED, REJECTS, TENSORS
from skinclf.storage import dataset_folder
from skinclf.storage.dataset_folder import Dataset, TensorFile
from skinclf.storage.files import join
from skinclf.storage.part_files import PartFiles, Written, part_files

WRITTEN = pa.schema(
    [
        ("part", pa.int64()),
        ("path", pa.string()),
        ("split", pa.string()),
        ("rows", pa.int64()),
    ]
)
"""`Written` as a table: all that a task returns."""


def write_tensors(plan: Plan, decoding: Decoding, folder: str) -> list[Written]:
    """Read and decode every planned file and write TENSORS and REJECTS below `folder`.

    A task has one part of the plan. Returns what the attempts wrote that Spark took, part by part;
    other attempts may leave files that nothing names.
    """
    start_decoder = row_decoder(plan.rows.sparkSession, decoding)

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with start_decoder() as decoder:
            writer = PartWriter(decoder, folder, decoding.image)
            written = [file._asdict() for file in writer.write(batches)]
        yield pa.RecordBatch.from_pylist(written, schema=WRITTEN)

    found = table_of(plan.rows.mapInArrow(write, from_arrow_schema(WRITTEN)))
    files = [Written(**row) for row in found.to_pylist()]
    return sorted(files, key=lambda file: (file.part, file.path))


class PartWriter:
    """Decodes the rows of a plan, part by part in the plan's order, and writes what they become.

    Of neighbors with one image_id the first that can be decoded is taken.
    """

    def __init__(self, decoder: Decoder, folder: str, image: ImageSpec) -> None:
        self._decoder, self._folder, self._image = decoder, folder, image
        self._attempt = uuid4().hex[:12]
        self._taken: Entry = {}

    def write(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Written]:
        """Write the parts of `batches`, whose rows are sorted by part; then tell their files."""
        rest = (batch for whole in batches for batch in _by_part(whole))
        batch = next(rest, None)
        while batch is not None:
            number = batch[PART][0].as_py()
            with part_files(self._folder, number, self._attempt, self._image) as files:
                while batch is not None and batch[PART][0].as_py() == number:
                    self._add(batch, files)
                    batch = next(rest, None)
            yield from files.written()

    def _add(self, batch: pa.RecordBatch, files: PartFiles) -> None:
        known = [name for name in batch.schema.names if name in READ]
        rows = [self._decoded(entry) for entry in batch.select(known).to_pylist()]
        rejects = [row for row in rows if "pixels" not in row]
        files.add(None, pa.Table.from_pylist(rejects, schema=REJECTS))
        places = pa.array([place for place, row in enumerate(rows) if "pixels" in row], pa.int32())
        if len(places):
            images = [row for row in rows if "pixels" in row]
            planned = pa.Table.from_batches([batch.select([*PLANNED, SPLIT])]).take(places)
            for split, chosen in _by_value(planned[SPLIT]).items():
                some = planned.take(chosen).drop_columns(SPLIT)
                files.add(split, self._tensors(some, [images[n] for n in chosen.to_pylist()]))

    def _decoded(self, entry: Entry) -> Entry:
        """The row of `decoded_row`, or a reject where another file of this id was taken."""
        taken = self._taken
        if entry["reason"] is None and taken.get("image_id") == entry["image_id"]:
            detail = f"taken instead: {taken['source']}"
            return row_of(entry) | {"reason": "duplicate_id", "detail": detail}
        (row,) = self._decoder([entry])
        if "pixels" in row:
            self._taken = entry
        return row

    def _tensors(self, planned: pa.Table, images: list[Entry]) -> pa.Table:
        """PLANNED columns and decoded rows → TENSORS."""
        likenesses = [likeness(pixels_array(row["pixels"], self._image)) for row in images]
        columns = {name: planned[name] for name in PLANNED}
        columns |= {
            name: pa.array([row[name] for row in images], TENSORS.field(name).type)
            for name in ("digest", "pixels")
        }
        columns |= {
            name: pa.array([getattr(found, name) for found in likenesses], TENSORS.field(name).type)
            for name in LIKENESS
        }
        return pa.table([columns[name] for name in TENSORS.names], schema=TENSORS)


READ = {"row", "content", *LISTING.names}
"""What an entry of the decoder has."""


def _by_part(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch sorted by part, cut where another part begins."""
    parts = batch[PART].to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(parts)) + 1), len(parts)]
    for start, stop in pairwise(cuts):
        if stop > start:
            yield batch.slice(start, stop - start)


def _by_value(column: pa.ChunkedArray) -> dict[str, pa.Array]:
    """Value → the places at which a column has it."""
    values = column.to_numpy(zero_copy_only=False)
    return {str(value): pa.array(np.flatnonzero(values == value)) for value in np.unique(values)}


FILE = pa.field("file", pa.string())

SPLIT_FOLDER = r"/split=(\w+)/(?:shard=\d+/)?[^/]+$"


def dataset_tensors(spark: SparkSession, dataset: Dataset) -> DataFrame:
    """The rows of a dataset; see `read_tensors`."""
    return read_tensors(spark, dataset.path, dataset.files, likenesses=dataset.format > 1)


def read_tensors(
    spark: SparkSession, folder: str, files: Iterable[TensorFile], *, likenesses: bool = True
) -> DataFrame:
    """The rows of `files` below a dataset's `folder`: TENSORS with `split` and `file`, its name.

    Other files in the folder are not read. `likenesses`: whether they have those columns.
    """
    names = [file.path.rpartition("/")[2] for file in files]
    schema = pa.schema([TENSORS.field(n) for n in TENSORS.names if likenesses or n not in LIKENESS])
    if not names:
        added = pa.schema([*schema, (SPLIT, pa.string()), FILE])
        return spark.createDataFrame([], from_arrow_schema(added))
    rows = read_parquet(spark, join(folder, dataset_folder.TENSORS), schema, recursive=True)
    name = F.col("_metadata.file_name")
    split = F.regexp_extract("_metadata.file_path", SPLIT_FOLDER, 1)
    return rows.where(name.isin(names)).withColumn(SPLIT, split).withColumn(FILE.name, name)
