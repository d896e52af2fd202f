"""Does the memory of a scoring grow with the archive? 10,000, 100,000 and 1,000,000 inputs.

    .venv/bin/python -m bench.score_memory --source IMAGES.zip --run runs/first

A list names so many files, of which every `every`-th is there and is decoded and scored; the
others go the same way and end as rejects.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from bench.measure import SKINCLF, print_table, watched
from bench.score import extract


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="a zip of images")
    parser.add_argument("--run", required=True, help="a finished run")
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as folder:
        root = Path(folder)
        extract(arguments.source, root / "images", max(arguments.sizes) // arguments.every)
        for size in arguments.sizes:
            lines = (
                f"images/{n // arguments.every:06}.jpg" if n % arguments.every == 0 else f"no/{n}"
                for n in range(size)
            )
            (root / "list.txt").write_text("\n".join(lines))
            settings = [f"score.archive={root}/list.txt", f"score.output={root}/scores"]
            settings += [f"run.path={arguments.run}", "spark.driver_memory=1g"]
            words = [word for setting in settings for word in ("--set", setting)]
            cost, peaks = watched([SKINCLF, "score", *words])
            rows.append([f"{size:,}", *(f"{mb:,}" for mb in peaks.values())])
            rows[-1].append(f"{cost.seconds:.0f}")
            print(rows[-1], flush=True)
            shutil.rmtree(root / "scores")
    columns = ["inputs", "driver, MB", "JVM, MB", "Python worker, MB", "seconds"]
    print_table("peak memory of a scoring", columns, rows)


if __name__ == "__main__":
    main()
