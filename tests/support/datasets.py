"""Datasets that no preparation wrote."""

from collections.abc import Callable

from skinclf.config.schema import SplitConfig
from skinclf.storage.dataset_folder import Dataset, TensorFile

MakeDataset = Callable[..., Dataset]
"""The fixture `make_dataset` of tests/training: shards, rows, group_rows → their dataset."""


def dataset_of(files: list[TensorFile], shards: int, folder: str) -> Dataset:
    """A dataset of these files, without whatever else prepare knows."""
    return Dataset(
        skinclf="",
        created="",
        sources=[],
        metadata="",
        split=SplitConfig(),
        inputs=0,
        tensors=0,
        rejects={},
        counts={"train": {}},
        shards=shards,
        files=files,
        path=folder,
    )
