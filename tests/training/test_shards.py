from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skinclf.errors import DatasetError
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.storage.dataset_folder import Dataset
from skinclf.training.shards import ShardReader, pixel_array, read_row_group
from tests.support.datasets import MakeDataset


def test_pixels_are_read_without_a_copy_from_any_slice() -> None:
    column = pa.array([bytes([n]) * BENBRAHIM_2020.size_bytes for n in range(4)], pa.binary())
    pixels = pixel_array(column.slice(1, 2), BENBRAHIM_2020)
    assert pixels.shape == (2, 75, 100, 3)
    assert [int(image.max()) for image in pixels] == [1, 2]
    assert not pixels.flags.owndata


@pytest.mark.parametrize("row", [b"short", None])
def test_pixels_of_another_length_are_refused(row: bytes | None) -> None:
    column = pa.array([bytes(BENBRAHIM_2020.size_bytes), row], pa.binary())
    with pytest.raises(DatasetError, match="expected 22500 bytes"):
        pixel_array(column, BENBRAHIM_2020)


def test_shards_hold_what_prepare_wrote(prepared: Path) -> None:
    dataset = Dataset.read(str(prepared / "dataset"))
    reader = ShardReader(dataset, "train", range(dataset.shards), memory_bytes=0)
    labels = {n: [reader.read(g).labels for g in groups] for n, groups in reader.groups.items()}
    rows = [sum(map(len, labels[n])) for n in range(dataset.shards)]
    assert rows == dataset.rows_of("train")
    together = np.concatenate([part for parts in labels.values() for part in parts])
    counts = np.bincount(together, minlength=7).tolist()
    assert counts == [dataset.counts["train"].get(code, 0) for code in dataset.classes]


def test_row_groups_are_kept_only_where_all_of_them_fit(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(shards=2, rows=10, group_rows=4)
    for memory_bytes, kept in (
        (20 * BENBRAHIM_2020.size_bytes, True),
        (20 * BENBRAHIM_2020.size_bytes - 1, False),
    ):
        reader = ShardReader(dataset, "train", [0, 1], memory_bytes=memory_bytes)
        assert reader.in_memory is kept
        assert [group.rows for group in reader.groups[1]] == [4, 4, 2]
        group = reader.groups[1][2]
        assert reader.read(group).labels.tolist() == [18, 19]
        assert (reader.read(group) is reader.read(group)) is kept


def test_a_file_cut_off_is_named_when_its_footer_is_read(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(shards=1, rows=4, group_rows=4)
    file = Path(dataset.path) / "shard-0.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"shard-0\.parquet: can't be read"):
        ShardReader(dataset, "train", [0], memory_bytes=0)


def test_damaged_pixels_are_named_when_they_are_read(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(shards=1, rows=4, group_rows=4)
    file = Path(dataset.path) / "shard-0.parquet"
    content = bytearray(file.read_bytes())
    content[4:300] = b"\xff" * 296  # the first pages; the footer stays whole
    file.write_bytes(content)
    reader = ShardReader(dataset, "train", [0], memory_bytes=0)
    with pytest.raises(DatasetError, match=r"shard-0\.parquet: can't be read"):
        read_row_group(reader.groups[0][0])


def test_a_missing_column_and_missing_rows_are_named(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(shards=1, rows=4, group_rows=4)
    file = Path(dataset.path) / "shard-0.parquet"
    whole = pq.read_table(file)
    pq.write_table(whole.drop_columns(["label"]), file)
    with pytest.raises(DatasetError, match="has no column label, only pixels"):
        ShardReader(dataset, "train", [0], memory_bytes=0)
    pq.write_table(whole.slice(1), file)
    with pytest.raises(DatasetError, match=r"3 rows, dataset\.json says 4"):
        ShardReader(dataset, "train", [0], memory_bytes=0)
