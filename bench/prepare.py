"""What does Spark cost on top of decoding? Our prepare job against a plain process pool.

    .venv/bin/python -m bench.prepare

`pool` reads, decodes, digests and writes the same Parquet files by the same code, with labels and
splits from a dictionary, and without Spark. `floor` reads and decodes, and nothing else.
"""

import argparse
import json
import shutil
import sys
import tempfile
import zipfile
from multiprocessing import Pool
from pathlib import Path

import pyarrow as pa

from bench.measure import SKINCLF
from bench.paired import Sizes, compared
from skinclf.archives import LISTING, ArchiveReader, list_images
from skinclf.archives.decoding import Decoding, decoded_row
from skinclf.config.schema import ArchiveConfig
from skinclf.spark.plan import PART, ROWS_A_PART, SPLIT
from skinclf.spark.splits import SPLITS
from skinclf.spark.tensors import PartWriter
from skinclf.spec.image import decode_rgb
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.tables import PLANNED, TENSORS
from skinclf.testing.archive import LOOKS, jpeg_of

LIMITS = ArchiveConfig()
CONTENDERS = ("pool", "skinclf", "floor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="a zip of JPEGs to repeat; without it they are drawn")
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=11_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", nargs=2, metavar=("CONTENDER", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_pool(*arguments.run)
        return
    sizes = Sizes(arguments.few, arguments.many)
    print(json.dumps(compare(arguments.source, sizes, arguments.rounds)))


def compare(source: str | None, sizes: Sizes, rounds: int) -> dict[str, object]:
    jpegs = source_jpegs(source)
    kilobytes = sum(map(len, jpegs)) / len(jpegs) / 1000
    with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as folder:
        for size in (sizes.few, sizes.many):
            make_archive(Path(folder, str(size)), jpegs, size)
        contenders = {
            name: lambda size, name=name: command_of(name, Path(folder, str(size)))
            for name in CONTENDERS
        }
        title = f"prepare, JPEGs of {kilobytes:.0f} kB"
        return compared(title, "pool", contenders, sizes, rounds)


def source_jpegs(source: str | None) -> list[bytes]:
    if source is None:
        return [jpeg_of(LOOKS["nv"], f"DEMO_{n:07}", n) for n in range(50)]
    with zipfile.ZipFile(source) as archive:
        return [archive.read(name) for name in archive.namelist()]


def make_archive(folder: Path, jpegs: list[bytes], images: int) -> None:
    folder.mkdir()
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for n in range(images):
            archive.writestr(zipfile.ZipInfo(f"I{n:06}.jpg"), jpegs[n % len(jpegs)])
    rows = [f"L{n // 2},I{n:06},nv" for n in range(images)]
    (folder / "metadata.csv").write_text("\n".join(["lesion_id,image_id,dx", *rows]) + "\n")


def command_of(contender: str, folder: Path) -> list[str]:
    shutil.rmtree(folder / contender, ignore_errors=True)
    if contender != "skinclf":
        return [sys.executable, "-m", "bench.prepare", "--run", contender, str(folder)]
    return [
        *(SKINCLF, "prepare", "--set", f"archive.paths={folder / 'images.zip'}"),
        *("--set", f"archive.metadata={folder / 'metadata.csv'}"),
        *("--set", f"dataset.path={folder / contender}"),
    ]


def run_pool(contender: str, folder: str) -> None:
    """The peer (`pool`) or the floor, on all cores."""
    lines = Path(folder, "metadata.csv").read_text().splitlines()[1:]
    lesions = dict(line.split(",")[1::-1] for line in lines)
    listing = list_images([f"{folder}/images.zip"])
    planned = [
        row | {"row": n, "lesion_id": lesions[row["image_id"]], "dx": "nv", "label": 5}
        for n, row in enumerate(listing.to_pylist())
    ]
    parts = [planned[n : n + ROWS_A_PART] for n in range(0, len(planned), ROWS_A_PART)]
    work = write_part if contender == "pool" else decode_part
    with Pool() as pool:
        for _ in pool.imap_unordered(work, [(folder, n, part) for n, part in enumerate(parts)]):
            pass


def decode_part(job: tuple[str, int, list[dict]]) -> None:
    _, _, entries = job
    with ArchiveReader(LIMITS.max_file_bytes) as reader:
        for entry in entries:
            decode_rgb(reader.read(entry), max_pixels=LIMITS.max_pixels)


PLAN = pa.schema(
    [
        *LISTING,
        ("row", pa.int64()),
        *(TENSORS.field(name) for name in PLANNED if name not in LISTING.names),
        (SPLIT, pa.string()),
        (PART, pa.int64()),
    ]
)


def write_part(job: tuple[str, int, list[dict]]) -> None:
    folder, number, entries = job
    decoding = Decoding(LIMITS, digests=True)
    splits = [SPLITS[hash(entry["lesion_id"]) % len(SPLITS)] for entry in entries]
    drawn = [e | {PART: number, SPLIT: s} for e, s in zip(entries, splits, strict=True)]
    with ArchiveReader(LIMITS.max_file_bytes) as reader:
        writer = PartWriter(
            lambda rows: (decoded_row(row, reader, decoding) for row in rows),
            f"{folder}/pool",
            BENBRAHIM_2020,
        )
        for _ in writer.write(pa.Table.from_pylist(drawn, schema=PLAN).to_batches(256)):
            pass


if __name__ == "__main__":
    main()
