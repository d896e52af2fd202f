"""The files that one task writes of one part of a dataset: tensors by split, and rejects.

Their names are the attempt's own, so that attempts at one part never meet; the driver names in
dataset.json those of the attempt that Spark took.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pyarrow as pa

from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.tables import REJECTS as REJECTS_SCHEMA
from skinclf.spec.tables import TENSORS as TENSORS_SCHEMA
from skinclf.storage.dataset_folder import REJECTS, TENSORS
from skinclf.storage.files import join
from skinclf.storage.parquet_files import TableWriter, table_writer

ROW_GROUP_BYTES = 16 * 2**20
"""Of pixels, about 740 images: what a worker that streams a shard holds at a time."""

UNLIKE = ("image_id", "source", "digest", "thumbnail", "pixels")
"""Columns without a value that comes twice: a dictionary or statistics of them are no use."""


class Written(NamedTuple):
    """A file that a task wrote; `path` is relative to the dataset, `split` is None for rejects."""

    part: int
    path: str
    split: str | None
    rows: int

    @property
    def name(self) -> str:
        """The last part of its path, which no other file of the dataset has."""
        return self.path.rpartition("/")[2]


def tensors_schema(image: ImageSpec) -> pa.Schema:
    """TENSORS, whose `pixels` say in their metadata what they are."""
    place = TENSORS_SCHEMA.get_field_index("pixels")
    about = {"shape": json.dumps(list(image.shape)), "dtype": "uint8"}
    return TENSORS_SCHEMA.set(place, TENSORS_SCHEMA.field(place).with_metadata(about))


@contextmanager
def part_files(folder: str, number: int, attempt: str, image: ImageSpec) -> Iterator["PartFiles"]:
    """The files of part `number` below a dataset's `folder`; gone if the block fails."""
    with ExitStack() as opened:
        yield PartFiles(folder, number, attempt, image, opened)


class PartFiles:
    """A file a split, and one of rejects, each from its first row on; see `part_files`."""

    def __init__(
        self, folder: str, number: int, attempt: str, image: ImageSpec, opened: ExitStack
    ) -> None:
        self._folder, self._number, self._attempt = folder, number, attempt
        self._tensors = tensors_schema(image)
        self._group_rows = max(1, ROW_GROUP_BYTES // image.size_bytes)
        self._files: dict[str | None, TableWriter] = {}
        self._opened = opened

    def add(self, split: str | None, rows: pa.Table) -> None:
        """Append TENSORS to a split's file, or REJECTS (split None)."""
        if not rows.num_rows:
            return
        if split not in self._files:
            schema = REJECTS_SCHEMA if split is None else self._tensors
            path = join(self._folder, self._path(split))
            plain = [name for name in schema.names if name not in UNLIKE]
            opened = table_writer(path, schema, self._group_rows, plain, [*plain, "image_id"])
            self._files[split] = self._opened.enter_context(opened)
        self._files[split].add(rows)

    def written(self) -> Iterator[Written]:
        """What was written; whole once the block has ended."""
        for split, file in self._files.items():
            yield Written(self._number, self._path(split), split, file.rows)

    def _path(self, split: str | None) -> str:
        name = f"{split or REJECTS}-{self._number:05}-{self._attempt}.parquet"
        return f"{TENSORS}/split={split}/{name}" if split else f"{REJECTS}/{name}"
