from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.storage.dataset_folder import Dataset, TensorFile
from tests.support.datasets import MakeDataset, dataset_of


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Write shards of `rows` training images each, `group_rows` of them in a row group.

    An image's label counts through all shards, and its first byte is the same number.
    """

    def make(shards: int, rows: int, group_rows: int) -> Dataset:
        files = []
        for shard in range(shards):
            numbers = np.arange(rows) + rows * shard
            pixels = [bytes([n % 256]) + bytes(BENBRAHIM_2020.size_bytes - 1) for n in numbers]
            table = pa.table({"label": numbers.astype(np.int32), "pixels": pixels})
            file = tmp_path / f"shard-{shard}.parquet"
            pq.write_table(table, file, row_group_size=group_rows)
            files.append(TensorFile(path=file.name, split="train", rows=rows))
        return dataset_of(files, shards, str(tmp_path))

    return make
