"""What does Spark cost on top of decoding? Our prepare job against a plain process pool.

    .venv/bin/python -m bench.prepare

In one run: `floor` reads and decodes in a process pool; `pool` also digests, and writes Parquet;
`skinclf prepare` does all of it with metadata, split, shards and checks. Each is measured with a
small and a large archive, and the difference is what an image costs: start-up falls out.
"""

import argparse
import os
import statistics
import sys
import tempfile
import zipfile
from multiprocessing import Pool
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Cost, measured, print_table
from skinclf.archives import ArchiveReader, list_images
from skinclf.archives.decoding import Decoding, decoded_row
from skinclf.config.schema import ArchiveConfig
from skinclf.spark.decoding import IMAGES, IMAGES_PER_TASK
from skinclf.spec.image import decode_rgb
from skinclf.testing.archive import LOOKS, jpeg_of

LIMITS = ArchiveConfig()
CONTENDERS = ("floor", "pool", "skinclf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="a zip of JPEGs to repeat; without it they are drawn")
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--large", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", nargs=2, metavar=("CONTENDER", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_pool(*arguments.run)
        return
    with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as folder:
        compare(Path(folder), arguments)


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    sizes = (arguments.small, arguments.large)
    jpegs = source_jpegs(arguments.source)
    for size in sizes:
        make_archive(folder / str(size), jpegs, size)
    kilobytes = sum(map(len, jpegs)) / len(jpegs) / 1000
    print(
        f"{len(jpegs)} JPEGs of {kilobytes:.0f} kB, repeated to {sizes} images; "
        f"{os.cpu_count()} cores"
    )
    costs: dict[str, list[Cost]] = {name: [] for name in CONTENDERS}
    for turn in range(arguments.rounds):
        for name in CONTENDERS:
            small, large = (measured(command_of(name, folder / str(size))) for size in sizes)
            images = sizes[1] - sizes[0]
            cost = Cost(
                (large.seconds - small.seconds) / images,
                (large.cpu_seconds - small.cpu_seconds) / images,
            )
            costs[name].append(cost)
            print(f"round {turn + 1}: {name} {1000 * cost.cpu_seconds:.2f} CPU ms an image")
    cpu = {name: statistics.median(c.cpu_seconds for c in costs[name]) for name in CONTENDERS}
    rate = {name: 1 / statistics.median(c.seconds for c in costs[name]) for name in CONTENDERS}
    rows = [
        [name, f"{1000 * cpu[name]:.2f}", f"{cpu[name] / cpu['pool']:.2f}", f"{rate[name]:.0f}"]
        for name in CONTENDERS
    ]
    columns = ["", "CPU ms an image", "against pool", "images/s"]
    print_table(f"prepare, median of {arguments.rounds} rounds, start-up aside", columns, rows)


def source_jpegs(source: str | None) -> list[bytes]:
    if source is None:
        return [jpeg_of(LOOKS["nv"], f"DEMO_{n:07}", n) for n in range(50)]
    with zipfile.ZipFile(source) as archive:
        return [archive.read(name) for name in archive.namelist()]


def make_archive(folder: Path, jpegs: list[bytes], images: int) -> None:
    folder.mkdir()
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for n in range(images):
            archive.writestr(zipfile.ZipInfo(f"I{n}.jpg"), jpegs[n % len(jpegs)])
    rows = [f"L{n // 2},I{n},nv" for n in range(images)]
    (folder / "metadata.csv").write_text("\n".join(["lesion_id,image_id,dx", *rows]) + "\n")


def command_of(contender: str, folder: Path) -> list[str]:
    if contender != "skinclf":
        return [sys.executable, "-m", "bench.prepare", "--run", contender, str(folder)]
    return [
        *(str(Path(sys.executable).parent / "skinclf"), "prepare"),
        *("--set", f"archive.paths={folder / 'images.zip'}"),
        *("--set", f"archive.metadata={folder / 'metadata.csv'}"),
        *("--set", f"dataset.path={folder / 'dataset'}", "--set", "dataset.overwrite=true"),
    ]


def run_pool(contender: str, folder: str) -> None:
    """The peer (`pool`) or the floor, on all cores."""
    listing = list_images([f"{folder}/images.zip"]).to_pylist()
    parts = [
        listing[start : start + IMAGES_PER_TASK]
        for start in range(0, len(listing), IMAGES_PER_TASK)
    ]
    work = write_part if contender == "pool" else decode_part
    with Pool() as pool:
        for _ in pool.imap_unordered(work, [(folder, n, part) for n, part in enumerate(parts)]):
            pass


def decode_part(job: tuple[str, int, list[dict]]) -> None:
    _, _, entries = job
    with ArchiveReader(LIMITS.max_file_bytes) as reader:
        for entry in entries:
            decode_rgb(reader.read(entry), max_pixels=LIMITS.max_pixels)


def write_part(job: tuple[str, int, list[dict]]) -> None:
    folder, number, entries = job
    decoding = Decoding(LIMITS, digests=True)
    with ArchiveReader(LIMITS.max_file_bytes) as reader:
        rows = [decoded_row({"row": 0} | entry, reader, decoding) for entry in entries]
    table = pa.Table.from_pylist(rows, schema=IMAGES)
    pq.write_table(
        table, f"{folder}/pool-{number}.parquet", compression="zstd", compression_level=1
    )


if __name__ == "__main__":
    main()
