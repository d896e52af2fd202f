"""The dataset on storage: names, dataset.json, and who may read what.

dataset/
  dataset.json          the commit: it names every file of tensors and rejects with its rows.
                        What it does not name does not exist. No dataset.json = no dataset
  tensors/split=train/train-00000-*.parquet
  rejects/rejects-00000-*.parquet
  exploration/          figures and exploration.html, written by explore
  staging/              only while prepare runs

A dataset that is built anew takes the old one's place at once, when its dataset.json does. The
old files stay until then; they and what killed tasks left are removed after it.
"""

import hashlib
import os
from collections.abc import Iterator
from typing import Any, Self

from pydantic import BaseModel, Field, PositiveInt, computed_field, field_serializer

from skinclf.config.schema import MetadataConfig, SplitConfig
from skinclf.errors import DatasetError
from skinclf.spec.image_spec import BENBRAHIM_2020, ImageSpec
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from skinclf.storage.files import absolute, exists, join, name_of, read_json
from skinclf.storage.output_folder import OutputFolder
from skinclf.system.retrying import may_pass
from skinclf.system.text import in_one_line
from skinclf.system.uris import distinct_ends

FORMAT = 2
FORMATS_READ = (1, 2)
"""In format 1 each file was one whole shard; without what tells near duplicates (LIKENESS)."""

MANIFEST, CARD = "dataset.json", "README.md"
TENSORS, REJECTS, STAGING, EXPLORATION = "tensors", "rejects", "staging", "exploration"


RUN_CONFIG = "config.toml"
"""In the folder of a run, and of no dataset."""

NO_WORDS = MetadataConfig()


class TensorFile(BaseModel):
    """One Parquet file of tensors; `path` is relative to the dataset."""

    path: str
    split: str
    rows: int


class RejectFile(BaseModel):
    """One Parquet file of rejects; `path` is relative to the dataset."""

    path: str
    rows: int


class Dataset(BaseModel):
    """What dataset.json says. `path` is where it was read from, and is not stored in it."""

    format: int = FORMAT
    skinclf: str
    created: str  # UTC, ISO 8601
    sources: list[str]  # archive.paths, absolute
    metadata: str  # absolute
    same_lesion: str = Field(default="", exclude_if=lambda name: not name)
    """archive.same_lesion, absolute where it is a file."""

    merged: dict[str, str] = Field(default={}, exclude_if=lambda lesions: not lesions)
    """Lesion, or image without one → the lesion that it became by `same_lesion`."""

    selection: dict[str, Any] = Field(default={}, exclude_if=lambda chosen: not chosen)
    """ArchiveConfig.selection as given."""

    words: MetadataConfig = Field(default=NO_WORDS, exclude_if=lambda own: own == NO_WORDS)
    """[metadata] as given."""

    licence: str = ""  # of the images, as given
    taxonomy: Taxonomy = HAM10000
    image: ImageSpec = BENBRAHIM_2020
    split: SplitConfig
    shards: PositiveInt
    inputs: int
    tensors: int
    shared_files: int = Field(default=0, exclude_if=lambda files: not files)
    """In train and in test, as images of two lesions. 0 where that is not known."""

    rejects: dict[str, int]  # by reason
    counts: dict[str, dict[str, int]]  # split → diagnosis → images
    files: list[TensorFile]  # in the order of the rows
    reject_files: list[RejectFile] = []
    path: str = ""

    @field_serializer("split")
    def _without_what_is_not_used(self, split: SplitConfig) -> dict[str, Any]:
        # So the digest of a dataset of an earlier version stays what it was.
        unused = {"folds", "fold"} if not split.folds else set()
        return split.model_dump(exclude=unused | ({"left_out"} if not split.left_out else set()))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def classes(self) -> list[str]:
        """The codes of the taxonomy."""
        return list(self.taxonomy.codes)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shape(self) -> list[int]:
        """Height, width and channels of each image's `pixels`."""
        return list(self.image.shape)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def dtype(self) -> str:
        """Of `pixels`."""
        return "uint8"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read the dataset at `path`.

        Raises DatasetError: none, unfinished, or another format, or a run, which keeps the
        dataset.json of what it was trained on; and OSError as it is where the storage may answer
        later.
        """
        path = os.fspath(path)
        dataset = cls.of_run(path)
        if exists(join(path, RUN_CONFIG)):
            raise DatasetError(
                f"{path}: is a run, and no dataset. dataset.path (--dataset) names the dataset "
                f"that it was trained on, run.path (--run) the run"
            )
        return dataset

    @classmethod
    def of_run(cls, path: str) -> Self:
        """What the dataset.json at `path` says, be that a dataset or a run. Raises what `read` does
        of it.
        """
        manifest = join(path, MANIFEST)
        try:
            stored = read_json(manifest)
            dataset = cls.model_validate(stored)
        except FileNotFoundError:
            raise DatasetError(
                f"{path}: no {MANIFEST}, so this is not a finished dataset. dataset.path names "
                f"it; build it: skinclf prepare (or spark-submit jobs/prepare.py)"
            ) from None
        except (OSError, ValueError) as error:  # ValueError: no JSON, or other keys and values
            if may_pass(error):
                raise
            raise DatasetError(
                f"{manifest}: can't be read as a dataset: {in_one_line(error)}"
            ) from None
        said = dataset.model_dump(include={"classes", "shape", "dtype"})
        if dataset.format not in FORMATS_READ:
            said["format"] = FORMAT
        for key, ours in said.items():
            if stored.get(key, ours) != ours:
                raise DatasetError(
                    f"{manifest}: {key} is {stored[key]}, expected {ours}. Build the dataset anew: "
                    f"skinclf prepare"
                )
        return dataset.model_copy(update={"path": absolute(path)})

    @property
    def origin(self) -> list[str]:
        """What its sources and its metadata are called, without folders of no use elsewhere."""
        ends = distinct_ends(self.sources)
        names = ["/".join(path.rstrip("/").split("/")[-ends[path] :]) for path in self.sources]
        return [*names, f"metadata: {name_of(self.metadata)}"]

    @property
    def only_class(self) -> str | None:
        """The class of all training images; None where there are several, or no images."""
        codes = [code for code, images in self.counts.get("train", {}).items() if images]
        return codes[0] if len(codes) == 1 else None

    def to_json(self) -> str:
        """The text of dataset.json."""
        return self.model_dump_json(indent=1, exclude={"path"}) + "\n"

    @property
    def named(self) -> list[str]:
        """The paths of all its files, relative to it."""
        return [*(f.path for f in self.files), *(f.path for f in self.reject_files)]

    def files_of(self, split: str) -> list[TensorFile]:
        """The tensor files of a split, in the order of its rows."""
        return [file for file in self.files if file.split == split]

    @property
    def digest(self) -> str:
        """SHA-256 of dataset.json."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def same_as(self, other: "Dataset") -> bool:
        """Whether both are one dataset, wherever it was read from."""
        return self.digest == other.digest

    def count(self, split: str) -> int:
        """How many images a split has."""
        return sum(file.rows for file in self.files_of(split))

    def rows_of(self, split: str) -> list[int]:
        """How many images each shard of a split holds; `shards` numbers."""
        return [len(rows) for rows in shard_ranges(self.count(split), self.shards)]


def shard_ranges(rows: int, shards: int) -> Iterator[range]:
    """The rows of each shard: ranges of the order of all `rows`, equal but for one row.

    The first shards have the row more.
    """
    size, longer = divmod(rows, shards)
    start = 0
    for shard in range(shards):
        stop = start + size + (shard < longer)
        yield range(start, stop)
        start = stop


def output_folder(path: str) -> OutputFolder:
    """The folder that prepare writes a dataset to."""
    tables = TENSORS, REJECTS
    return OutputFolder(path, "dataset", MANIFEST, tables, CARD, STAGING, EXPLORATION)
