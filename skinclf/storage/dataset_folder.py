"""The dataset on storage: names, dataset.json, and who may read what.

dataset/
  dataset.json          written last; names everything below. No dataset.json = no dataset
  tensors/split=train/shard=00/*.parquet
  rejects/*.parquet
  exploration/          figures and exploration.html, written by explore
  staging/              only while prepare runs
"""

import hashlib
import re
from typing import Self

import pyarrow.parquet as pq
from pyarrow import fs
from pydantic import BaseModel, computed_field

from skinclf.config.schema import SplitConfig
from skinclf.errors import CheckError, DatasetError
from skinclf.spec.image_spec import BENBRAHIM_2020, ImageSpec
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from skinclf.storage.files import absolute, join, locate, read_json
from skinclf.storage.output_folder import OutputFolder
from skinclf.system.text import in_one_line

FORMAT = 1
MANIFEST = "dataset.json"
TENSORS, REJECTS, STAGING, EXPLORATION = "tensors", "rejects", "staging", "exploration"
TENSOR_FILE = re.compile(r"split=(\w+)/shard=(\d+)/[^/]+")


class TensorFile(BaseModel):
    """One Parquet file of tensors; `path` is relative to the dataset."""

    path: str
    split: str
    shard: int
    rows: int


class Dataset(BaseModel):
    """What dataset.json says. `path` is where it was read from, and is not stored in it."""

    format: int = FORMAT
    skinclf: str
    created: str  # UTC, ISO 8601
    sources: list[str]  # archive.paths as given
    metadata: str
    licence: str = ""  # of the images, as given
    taxonomy: Taxonomy = HAM10000
    image: ImageSpec = BENBRAHIM_2020
    split: SplitConfig
    shards: int
    inputs: int
    tensors: int
    rejects: dict[str, int]  # by reason
    counts: dict[str, dict[str, int]]  # split → diagnosis → images
    files: list[TensorFile]
    path: str = ""

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
    def read(cls, path: str) -> Self:
        """Read the dataset at `path`. Raises DatasetError: none, unfinished, or another format."""
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
            raise DatasetError(
                f"{manifest}: can't be read as a dataset: {in_one_line(error)}"
            ) from None
        said = {"format": FORMAT} | dataset.model_dump(include={"classes", "shape", "dtype"})
        for key, ours in said.items():
            if stored.get(key, ours) != ours:
                raise DatasetError(
                    f"{manifest}: {key} is {stored[key]}, expected {ours}. Build the dataset anew: "
                    f"skinclf prepare"
                )
        return dataset.model_copy(update={"path": absolute(path)})

    def to_json(self) -> str:
        """The text of dataset.json."""
        return self.model_dump_json(indent=1, exclude={"path"}) + "\n"

    def files_of(self, split: str) -> list[TensorFile]:
        """The tensor files of a split, by shard."""
        files = [file for file in self.files if file.split == split]
        return sorted(files, key=lambda file: (file.shard, file.path))

    @property
    def digest(self) -> str:
        """SHA-256 of dataset.json."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def same_as(self, other: "Dataset") -> bool:
        """Whether both are one dataset, wherever it was read from."""
        return self.digest == other.digest

    def rows_of(self, split: str) -> list[int]:
        """How many images each shard of a split holds; `shards` numbers."""
        rows = [0] * self.shards
        for file in self.files_of(split):
            rows[file.shard] += file.rows
        return rows


def output_folder(path: str) -> OutputFolder:
    """The folder that prepare writes a dataset to."""
    return OutputFolder(path, "dataset", MANIFEST, (TENSORS, REJECTS, STAGING, EXPLORATION))


def list_tensor_files(path: str) -> list[TensorFile]:
    """The tensor files that lie below a dataset, with the row counts of their footers."""
    file_system, root = locate(join(path, TENSORS))
    found = file_system.get_file_info(fs.FileSelector(root, recursive=True))
    names = sorted(info.path for info in found if info.path.endswith(".parquet"))
    return [_tensor_file(file_system, name, root) for name in names]


def _tensor_file(file_system: fs.FileSystem, name: str, root: str) -> TensorFile:
    relative = name.removeprefix(root).lstrip("/")
    found = TENSOR_FILE.fullmatch(relative)
    if found is None:
        raise CheckError(
            f"{name}: no job of ours writes such a file; expected are files such as "
            f"{TENSORS}/split=train/shard=00/part-00000.parquet"
        )
    with file_system.open_input_file(name) as file:
        rows = pq.read_metadata(file).num_rows
    split, shard = found.groups()
    return TensorFile(path=f"{TENSORS}/{relative}", split=split, shard=int(shard), rows=rows)
