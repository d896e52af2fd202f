import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skinclf.config.schema import SplitConfig
from skinclf.errors import UsageError
from skinclf.spec.image_spec import BENBRAHIM_2020, ImageSpec
from skinclf.spec.tables import REJECTS, TENSORS
from skinclf.storage.dataset_folder import Dataset, output_folder, shard_ranges
from skinclf.storage.output_folder import clear_unnamed
from skinclf.storage.part_files import Written, part_files
from tests.support.datasets import dataset_of

SMALL = ImageSpec(height=8, width=8)


def tensors(count: int, image: ImageSpec = SMALL) -> pa.Table:
    rows = [{"image_id": f"I{n}", "pixels": bytes(image.size_bytes)} for n in range(count)]
    return pa.Table.from_pylist(rows, schema=TENSORS)


def test_a_dataset_names_its_folds_and_otherwise_has_the_digest_that_it_always_had() -> None:
    dataset = dataset_of([], 4, "")
    assert list(json.loads(dataset.to_json())["split"]) == ["by", "train", "val", "test", "seed"]
    fold = dataset.model_copy(update={"split": SplitConfig(folds=5, fold=2)})
    assert json.loads(fold.to_json())["split"]["fold"] == 2
    assert Dataset.model_validate_json(fold.to_json()).split == fold.split
    out = dataset.model_copy(update={"split": SplitConfig(left_out="A")})
    assert (fold.split.in_words, out.split.in_words, dataset.split.in_words) == (
        *("lesion, fold 2 of 5", "lesion, source A left out", "lesion"),
    )
    assert len({dataset.digest, fold.digest, out.digest}) == 3


@pytest.mark.parametrize(
    ("rows", "shards", "sizes"), [(10, 4, [3, 3, 2, 2]), (3, 4, [1, 1, 1, 0]), (0, 2, [0, 0])]
)
def test_shards_share_the_rows_and_the_first_have_one_more(
    rows: int, shards: int, sizes: list[int]
) -> None:
    ranges = list(shard_ranges(rows, shards))
    assert [len(shard) for shard in ranges] == sizes
    assert [n for shard in ranges for n in shard] == list(range(rows))


def test_a_part_is_a_file_a_split_and_one_of_rejects(tmp_path: Path) -> None:
    rejects = pa.Table.from_pylist([{"source": "a", "reason": "empty"}], schema=REJECTS)
    with part_files(str(tmp_path), 7, "0123456789ab", SMALL) as files:
        for split, count in (("train", 2), ("test", 1), ("train", 3)):
            files.add(split, tensors(count))
        files.add(None, rejects)
    name = "00007-0123456789ab.parquet"
    assert list(files.written()) == [
        Written(7, f"tensors/split=train/train-{name}", "train", 5),
        Written(7, f"tensors/split=test/test-{name}", "test", 1),
        Written(7, f"rejects/rejects-{name}", None, 1),
    ]
    assert [pq.read_metadata(tmp_path / f.path).num_rows for f in files.written()] == [5, 1, 1]


def test_row_groups_are_as_long_however_their_rows_arrive(tmp_path: Path) -> None:
    large = ImageSpec(height=1024, width=1024)  # 3 MiB: five a row group
    for attempt, pieces in (("a" * 12, (7,)), ("b" * 12, (1, 2, 4))):
        with part_files(str(tmp_path), 0, attempt, large) as files:
            for count in pieces:
                files.add("train", tensors(count, large))
        (file,) = files.written()
        footer = pq.read_metadata(tmp_path / file.path)
        assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [5, 2]


def test_a_part_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with part_files(str(tmp_path), 0, "a" * 12, SMALL) as files:
            files.add("train", tensors(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.rglob("*.parquet"))


def test_what_no_manifest_names_is_cleared_and_what_no_job_wrote_stays(tmp_path: Path) -> None:
    names = (
        "tensors/split=train/train-00000-0123456789ab.parquet",  # named
        "tensors/split=train/train-00001-0123456789ab.parquet",
        "tensors/split=val/shard=00/part-00003-5f0e.c000.zstd.parquet",  # of format 1
        "tensors/split=val/shard=00/.part-00003-5f0e.c000.zstd.parquet.crc",
        "tensors/_SUCCESS",
        "tensors/notes/notes.parquet",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    clear_unnamed(str(tmp_path), "tensors", [names[0]])
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {names[0], names[-1]}
    assert not (tmp_path / "tensors" / "split=val").exists()


def test_the_default_image_has_row_groups_of_some_740(tmp_path: Path) -> None:
    with part_files(str(tmp_path), 0, "a" * 12, BENBRAHIM_2020) as files:
        files.add("train", tensors(800, BENBRAHIM_2020))
    (file,) = files.written()
    assert pq.read_metadata(tmp_path / file.path).row_group(0).num_rows == 745


def test_a_page_of_somebody_s_is_not_replaced(tmp_path: Path) -> None:
    folder = output_folder(str(tmp_path))
    (tmp_path / "README.md").write_text("My project\n")
    with pytest.raises(UsageError, match=r"holds README\.md, which no job of ours wrote there"):
        folder.check(overwrite=True)
    (tmp_path / "README.md").unlink()
    folder.begin(overwrite=False)
    (tmp_path / "README.md").write_text("A dataset\n")
    folder.check(overwrite=False)
