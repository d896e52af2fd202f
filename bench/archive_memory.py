"""Does memory grow with the archive? Prepare and score of 10,000, 100,000 and 1,000,000 inputs.

    .venv/bin/python -m bench.archive_memory --source IMAGES.zip --run runs/first

A list names so many files, of which every `every`-th is there and is decoded; the others go the
same way and end as rejects. The JVM may take 1 GB for its heap, as any larger it would just use.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.measure import SKINCLF, print_table, watched
from bench.score import extract

SIZES = (10_000, 100_000, 1_000_000)
COLUMNS = ["inputs", "driver, MB", "JVM, MB", "Python worker, MB", "seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="a zip or folder of images")
    parser.add_argument("--run", required=True, help="a finished run")
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    measure(arguments.source, arguments.run, arguments.sizes, arguments.every)


def measure(source: str, run: str, sizes: Sequence[int], every: int = 500) -> dict[str, Any]:
    """The peaks of both jobs at each size → the table as data; prints it."""
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as folder:
        root = Path(folder)
        extract(source, root / "images", max(sizes) // every)
        for size in sizes:
            write_list(root, size, every)
            for job in ("prepare", "score"):
                settings = [*SETTINGS[job](root, run), "spark.driver_memory=1g"]
                words = [word for setting in settings for word in ("--set", setting)]
                cost, peaks = watched([SKINCLF, job, *words])
                found = [*(f"{mb:,}" for mb in peaks.values()), f"{cost.seconds:.0f}"]
                rows[f"{job}, {size:,} inputs"] = found
                print(job, size, found, flush=True)
                shutil.rmtree(root / job)
    title = "peak memory of a job"
    print_table(title, COLUMNS, [[name, *cells] for name, cells in rows.items()])
    return {"title": title, "columns": COLUMNS, "rows": rows}


def write_list(root: Path, size: int, every: int) -> None:
    """A list of `size` files, most of which are not there, and metadata of all of them."""
    with (root / "list.txt").open("w") as files, (root / "metadata.csv").open("w") as metadata:
        metadata.write("lesion_id,image_id,dx\n")
        for n in range(size):
            name = f"{n // every:06}" if n % every == 0 else f"{n:09}"
            files.write(f"images/{name}.jpg\n")
            metadata.write(f"L{n // 2},{name},{'mel' if n % 3 else 'nv'}\n")


SETTINGS = {
    "prepare": lambda root, run: [
        f"archive.paths={root}/list.txt",
        f"archive.metadata={root}/metadata.csv",
        f"dataset.path={root}/prepare",
    ],
    "score": lambda root, run: [
        *(f"score.archive={root}/list.txt", f"score.output={root}/score", f"run.path={run}"),
    ],
}


if __name__ == "__main__":
    main()
