"""Datasets of noise for the training benchmarks: nothing in them is learned from."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.dataset_folder import Dataset, TensorFile
from tests.support.datasets import dataset_of

SHARDS = 16
GROUP_ROWS = 740
"""What prepare's row groups of 16 MB hold."""


def write_shards(folder: str, images: int) -> Dataset:
    """A training split of `images` images in SHARDS Parquet files, as prepare writes them."""
    random = np.random.default_rng(1)
    rows = images // SHARDS
    files = []
    for shard in range(SHARDS):
        name = f"shard-{shard:02}.parquet"
        schema = pa.schema([("label", pa.int32()), ("pixels", pa.binary())])
        with pq.ParquetWriter(f"{folder}/{name}", schema, compression="zstd") as writer:
            for start in range(0, rows, GROUP_ROWS):
                count = min(GROUP_ROWS, rows - start)
                pixels = random.integers(0, 256, (count, BENBRAHIM_2020.size_bytes), np.uint8)
                labels = random.integers(0, len(HAM10000), count).astype(np.int32)
                column = [row.tobytes() for row in pixels]
                writer.write_table(pa.table([labels, column], schema=schema))
        files.append(TensorFile(path=name, split="train", rows=rows))
    return dataset_of(files, SHARDS, folder)
