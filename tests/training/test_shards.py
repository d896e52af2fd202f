import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skinclf.config.schema import TrainConfig
from skinclf.errors import DatasetError
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.storage.dataset_folder import Dataset, TensorFile
from skinclf.training.shards import ShardReader, held_bytes, pixels_of_column, read_piece
from tests.support.datasets import MakeDataset, dataset_of


def test_pixels_are_read_without_a_copy_from_any_slice() -> None:
    column = pa.array([bytes([n]) * BENBRAHIM_2020.size_bytes for n in range(4)], pa.binary())
    pixels = pixels_of_column(column.slice(1, 2), BENBRAHIM_2020)
    assert pixels.shape == (2, 75, 100, 3)
    assert [int(image.max()) for image in pixels] == [1, 2]
    assert not pixels.flags.owndata


@pytest.mark.parametrize("row", [b"short", None])
def test_pixels_of_another_length_are_refused(row: bytes | None) -> None:
    column = pa.array([bytes(BENBRAHIM_2020.size_bytes), row], pa.binary())
    with pytest.raises(DatasetError, match="expected 22500 bytes"):
        pixels_of_column(column, BENBRAHIM_2020)


def test_shards_hold_what_prepare_wrote(prepared: Path) -> None:
    dataset = Dataset.read(str(prepared / "dataset"))
    reader = ShardReader(dataset, "train", range(dataset.shards), memory_bytes=0)
    labels = {n: [reader.read(p).labels for p in pieces] for n, pieces in reader.pieces.items()}
    rows = [sum(map(len, labels[n])) for n in range(dataset.shards)]
    assert rows == dataset.rows_of("train")
    together = np.concatenate([part for parts in labels.values() for part in parts])
    counts = np.bincount(together, minlength=7).tolist()
    assert counts == [dataset.counts["train"].get(code, 0) for code in dataset.classes]


def test_pieces_are_kept_only_where_all_of_them_fit(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(shards=2, rows=10, group_rows=4)
    for memory_bytes, kept in (
        (20 * BENBRAHIM_2020.size_bytes, True),
        (20 * BENBRAHIM_2020.size_bytes - 1, False),
    ):
        reader = ShardReader(dataset, "train", [0, 1], memory_bytes=memory_bytes)
        assert reader.in_memory is kept
        assert [piece.rows for piece in reader.pieces[1]] == [4, 4, 2]
        piece = reader.pieces[1][2]
        assert reader.read(piece).labels.tolist() == [18, 19]
        assert (reader.read(piece) is reader.read(piece)) is kept


def test_a_file_cut_off_is_named_when_its_footer_is_read(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(shards=1, rows=4, group_rows=4)
    file = Path(dataset.path) / "shard-0.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"shard-0\.parquet: can't be read"):
        ShardReader(dataset, "train", [0], memory_bytes=0)


@pytest.mark.parametrize("where", ["on this machine", "on an object store"])
def test_damaged_pixels_are_named_when_they_are_read(
    make_dataset: MakeDataset, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "on an object store":  # where an OSError may be the storage's
        monkeypatch.setattr("skinclf.training.shards.local_path", lambda _path: None)
    dataset = make_dataset(shards=1, rows=4, group_rows=4)
    file = Path(dataset.path) / "shard-0.parquet"
    content = bytearray(file.read_bytes())
    content[4:300] = b"\xff" * 296  # the first pages; the footer stays whole
    file.write_bytes(content)
    reader = ShardReader(dataset, "train", [0], memory_bytes=0)
    with pytest.raises(DatasetError, match=r"shard-0\.parquet: can't be read"):
        read_piece(reader.pieces[0][0])


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "too many open files"), pa.ArrowMemoryError("out of memory")]
)
def test_a_machine_that_is_short_of_something_is_not_taken_for_damage(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    dataset = make_dataset(shards=1, rows=4, group_rows=4)

    def short(_path: str) -> None:
        raise error

    monkeypatch.setattr("skinclf.training.shards.open_file", short)
    with pytest.raises(type(error)):
        ShardReader(dataset, "train", [0], memory_bytes=0)


def test_storage_that_fails_is_not_taken_for_damage(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(shards=1, rows=4, group_rows=4)

    def unreachable(_path: str) -> bytes:
        raise OSError("AWS Error NETWORK_CONNECTION")

    for name in ("open_file", "read_bytes"):
        monkeypatch.setattr(f"skinclf.training.shards.{name}", unreachable)
    monkeypatch.setattr("skinclf.training.shards.local_path", lambda _path: None)
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        ShardReader(dataset, "train", [0], memory_bytes=0)


def test_streamed_images_are_held_by_windows_of_all_shards(make_dataset: MakeDataset) -> None:
    """A cache that is too small for a split bounds nothing: the windows do."""
    dataset = make_dataset(shards=4, rows=50, group_rows=10)
    size = BENBRAHIM_2020.size_bytes  # 200 images take 4.5 MB
    fitting = TrainConfig(image_cache_mb=10)
    assert held_bytes(dataset, fitting) == 200 * size
    streamed = TrainConfig(image_cache_mb=1, shuffle_window=20)
    assert held_bytes(dataset, streamed) == (4 * 20 + 20) * size
    two = streamed.model_copy(update={"slots": 2})
    assert held_bytes(dataset, two) == (2 * 20 + 20) * size


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


def test_a_shard_is_a_range_of_all_rows_whatever_files_they_lie_in(tmp_path: Path) -> None:
    """Files of 5, 1 and 7 rows in row groups of 3, shared out to four shards of 4, 3, 3 and 3."""
    files, start = [], 0
    for number, rows in enumerate((5, 1, 7)):
        labels = np.arange(start, start + rows, dtype=np.int32)
        pixels = [bytes([n]) * BENBRAHIM_2020.size_bytes for n in labels]
        file = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"label": labels, "pixels": pixels}), file, row_group_size=3)
        files.append(TensorFile(path=file.name, split="train", rows=rows))
        start += rows
    dataset = dataset_of(files, 4, str(tmp_path))
    assert dataset.rows_of("train") == [4, 3, 3, 3]
    reader = ShardReader(dataset, "train", range(4), memory_bytes=0)
    read = {n: [reader.read(piece) for piece in pieces] for n, pieces in reader.pieces.items()}
    found = {n: [part.labels.tolist() for part in parts] for n, parts in read.items()}
    assert found == {
        0: [[0, 1, 2], [3]],
        1: [[4], [5], [6]],
        2: [[7, 8], [9]],
        3: [[10, 11], [12]],
    }
    for images in (images for parts in read.values() for images in parts):
        assert (images.pixels[:, 0, 0, 0] == images.labels).all()


def test_only_the_files_of_one_s_own_shards_are_opened(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(shards=4, rows=4, group_rows=4)
    (Path(dataset.path) / "shard-2.parquet").unlink()
    ShardReader(dataset, "train", [0, 1, 3], memory_bytes=0)
    with pytest.raises(DatasetError, match=r"shard-2\.parquet: can't be read"):
        ShardReader(dataset, "train", [2], memory_bytes=0)
