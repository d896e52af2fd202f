"""All benchmarks in one go: bench/results.json, and docs/speed.md, which is written from it.

    make bench
    make bench SOURCE=ORIGINALS.zip PEERS=PYTHON_THAT_HAS_RAY_AND_DAFT

Without SOURCE, a zip of JPEGs, the photographs are drawn. It takes some 45 minutes of a machine
that does nothing else.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import archive_memory, prepare, score
from bench.measure import SKINCLF, measured
from bench.page import page
from bench.paired import Sizes, repeated
from skinclf.system.machine import versions
from skinclf.testing.archive import METADATA, make_archive

RESULTS, PAGE = Path("bench/results.json"), Path("docs/speed.md")
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="a zip of full-size JPEGs")
    parser.add_argument("--peers", help="a Python that has Ray Data and Daft")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--page", action="store_true", help="write the page from the last results")
    arguments = parser.parse_args()
    if not arguments.page:
        with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as root:
            results = {"machine": machine(), "tables": tables(Path(root), arguments)}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


def tables(root: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    rounds, sizes = arguments.rounds, Sizes(500, 500 + arguments.images)
    few = Sizes(200, 200 + arguments.images // 5)
    whole = whole_commands(root, rounds)
    run, source = str(root / "demo" / "run"), arguments.source or drawn(root)
    peers = ["loop", "spark", *(score.PEERS if arguments.peers else ())]
    return [
        whole,
        prepare.compare(arguments.source, sizes, rounds),
        score.compare(source, run, ["skinclf"], sizes, rounds),
        score.compare(source, run, ["skinclf", *peers], few, min(rounds, 3), arguments.peers),
        archive_memory.measure(source, run, [10_000, 100_000, 1_000_000]),
    ]


def whole_commands(root: Path, rounds: int) -> dict[str, Any]:
    """Commands from their start to their end, as a user waits for them."""
    demo, some = root / "demo", root / "28"
    print("a demo first: it makes what the others need", file=sys.stderr)
    measured([SKINCLF, "demo", "--folder", str(demo)])
    large = dataset_and_run(root)
    some.mkdir()
    make_archive(some, 28)
    scores = ["--set", f"score.output={root / 'scores'}"]
    commands = {
        "skinclf --help": [SKINCLF, "--help"],
        "skinclf demo (900 images)": [SKINCLF, "demo", "--folder", str(demo)],
        "skinclf evaluate (1,000 images)": [SKINCLF, "evaluate", *large],
        "skinclf score (28 images)": [
            *("sh", "-c", 'rm -rf "$0"; exec "$@"', str(root / "scores")),
            *(SKINCLF, "score", "--archive", str(some), "--run", str(demo / "run"), *scores),
        ],
    }
    return repeated("whole commands", commands, rounds)


def dataset_and_run(root: Path) -> list[str]:
    """Options that name a dataset of 10,000 drawn images and a run of one epoch."""
    archive = root / "large"
    make_archive(archive, 10_000)
    options = ["--dataset", str(root / "dataset"), "--run", str(root / "run")]
    zips = [word for zipped in sorted(archive.glob("*.zip")) for word in ("--archive", str(zipped))]
    metadata = ["--metadata", str(archive / METADATA)]
    measured([SKINCLF, "prepare", *zips, *metadata, *options[:2]])
    measured([SKINCLF, "train", *options, "--set", "train.epochs=1"])
    shutil.rmtree(archive)
    return options


def drawn(root: Path) -> str:
    """A folder of drawn full-size JPEGs."""
    folder = root / "drawn"
    folder.mkdir()
    for n, content in enumerate(prepare.source_jpegs(None)):
        (folder / f"{n:03}.jpg").write_bytes(content)
    return str(folder)


def machine() -> dict[str, str]:
    """What the figures are of."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        **versions(),
    }


if __name__ == "__main__":
    main()
