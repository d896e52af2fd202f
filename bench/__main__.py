"""The benchmarks of docs/speed.md in one go: bench/results.json and the page that is made of it.

    make bench
    make bench SOURCE=ORIGINALS.zip PEERS=PYTHON_THAT_HAS_RAY_AND_DAFT

Without SOURCE, a zip of JPEGs, the photographs are drawn. It takes some 45 minutes of a machine
that does nothing else. `python -m bench --only score` measures one part anew.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import archive_memory, prepare, score
from bench.measure import SKINCLF, measured
from bench.page import RESULTS, write_page
from bench.paired import Sizes, repeated
from skinclf.system.machine import versions
from skinclf.testing.archive import METADATA, make_archive

ROUNDS = 5

FEW = 1_000
"""Enough for a task on each core of two: starting what runs them is no cost of the images."""

Table = dict[str, Any]
"""What `page` shows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="a zip of full-size JPEGs")
    parser.add_argument("--peers", help="a Python that has Ray Data and Daft")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"tables": {}}
    results["machine"] = machine()
    with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as root:
        for part in (part for part in PARTS if part in arguments.only):
            table = PARTS[part](Path(root), arguments)
            results["tables"][part] = table | {"date": results["machine"]["date"]}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            write_page()


def whole(root: Path, arguments: argparse.Namespace) -> Table:
    return whole_commands(root, arguments.rounds)


def preparing(root: Path, arguments: argparse.Namespace) -> Table:
    sizes = Sizes(FEW, FEW + arguments.images)
    return prepare.compare(arguments.source, sizes, arguments.rounds)


def scoring(root: Path, arguments: argparse.Namespace) -> Table:
    sizes = Sizes(FEW, FEW + arguments.images)
    source, run = source_of(root, arguments), run_of(root)
    return score.compare(source, run, ["skinclf"], sizes, arguments.rounds)


def peers(root: Path, arguments: argparse.Namespace) -> Table:
    """The ways that people know: some are so slow that they get fewer images."""
    names = ["skinclf", "loop", "spark", *(score.PEERS if arguments.peers else ())]
    sizes, rounds = Sizes(200, 200 + arguments.images // 5), min(arguments.rounds, 3)
    source, run = source_of(root, arguments), run_of(root)
    found = score.compare(source, run, names, sizes, rounds, arguments.peers)
    return found | {"title": f"{found['title']}, against the ways that people know"}


def memory(root: Path, arguments: argparse.Namespace) -> Table:
    return archive_memory.measure(source_of(root, arguments), run_of(root), archive_memory.SIZES)


PARTS = {
    "whole": whole,
    "prepare": preparing,
    "score": scoring,
    "peers": peers,
    "memory": memory,
}


def run_of(root: Path) -> str:
    """A finished run: the demo's."""
    if not (root / "demo").exists():
        measured([SKINCLF, "demo", "--folder", str(root / "demo")])
    return str(root / "demo" / "run")


def source_of(root: Path, arguments: argparse.Namespace) -> str:
    """Full-size JPEGs: those that are named, or a folder of drawn ones."""
    folder = root / "drawn"
    if arguments.source or folder.exists():
        return arguments.source or str(folder)
    folder.mkdir()
    for n, content in enumerate(prepare.source_jpegs(None)):
        (folder / f"{n:03}.jpg").write_bytes(content)
    return str(folder)


def whole_commands(root: Path, rounds: int) -> Table:
    """Commands from their start to their end, as a user waits for them."""
    demo, some = Path(run_of(root)).parent, root / "28"
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
    measured([SKINCLF, "prepare", *zips, *metadata, "--output", str(root / "dataset")])
    measured([SKINCLF, "train", *options, "--set", "train.epochs=1"])
    shutil.rmtree(archive)
    return options


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
