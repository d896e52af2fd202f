"""Contenders in turns: A B A B …, and the ratio of each round's pair.

The speed of a shared machine drifts. What runs side by side drifts alike, so that the ratio of a
pair says more than two medians. First the yardstick runs against itself: the spread of that ratio
is what this benchmark can resolve on this machine, and no claim is finer.
"""

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.measure import Cost, measured, print_table

Run = Callable[[int], list[str]]
"""How many images → the command that works on them."""


@dataclass(frozen=True)
class Sizes:
    """A contender runs over few and over many images: the difference is what images cost, and
    what is left is its start.
    """

    few: int
    many: int

    @property
    def images(self) -> int:
        """That the difference is of."""
        return self.many - self.few


@dataclass(frozen=True)
class ImageCost:
    """Milliseconds an image, and seconds of a start with `few` images."""

    cpu_ms: float
    clock_ms: float
    start_seconds: float


@dataclass(frozen=True)
class Spread:
    """Median, least and most of several rounds."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.most:.2f})"


def spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def cost_of(run: Run, sizes: Sizes) -> ImageCost:
    few, many = (measured(run(size)) for size in (sizes.few, sizes.many))
    return ImageCost(
        1000 * (many.cpu_seconds - few.cpu_seconds) / sizes.images,
        1000 * (many.seconds - few.seconds) / sizes.images,
        few.seconds,
    )


def compared(
    title: str, yardstick: str, contenders: Mapping[str, Run], sizes: Sizes, rounds: int
) -> dict[str, Any]:
    """Time all contenders in turns, the yardstick twice a round → the table as data; prints it."""
    names = [yardstick, *(name for name in contenders if name != yardstick)]
    again = f"{yardstick} again"
    costs: dict[str, list[ImageCost]] = {name: [] for name in [*names, again]}
    for turn in range(rounds):
        for name in [*names, again]:
            cost = cost_of(contenders[yardstick if name == again else name], sizes)
            costs[name].append(cost)
            print(f"{title}, round {turn + 1}: {name} {cost}", file=sys.stderr, flush=True)
    rows = {name: _row(costs[name], costs[yardstick]) for name in [*names, again]}
    print_table(
        f"{title}: {sizes.images:,} images a round, {rounds} rounds",
        ["", "CPU ms/image", f"relative to {yardstick}", "wall ms/image", "start, s"],
        [
            [name, str(row["cpu_ms"]), str(row["ratio"]), str(row["clock_ms"]), str(row["start"])]
            for name, row in rows.items()
        ],
    )
    return {
        "title": title,
        "yardstick": yardstick,
        "images": sizes.images,
        "rounds": rounds,
        "rows": {n: {k: asdict(v) for k, v in row.items()} for n, row in rows.items()},
    }


def _row(costs: list[ImageCost], yardstick: list[ImageCost]) -> dict[str, Spread]:
    pairs = zip(costs, yardstick, strict=True)
    return {
        "cpu_ms": spread([cost.cpu_ms for cost in costs]),
        "ratio": spread([ours.cpu_ms / theirs.cpu_ms for ours, theirs in pairs]),
        "clock_ms": spread([cost.clock_ms for cost in costs]),
        "start": spread([cost.start_seconds for cost in costs]),
    }


def repeated(title: str, commands: Mapping[str, list[str]], rounds: int) -> dict[str, Any]:
    """Time whole commands in turns → the table as data; prints it."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(rounds):
        for name, command in commands.items():
            costs[name].append(measured(command))
            print(f"{title}, round {turn + 1}: {name} {costs[name][-1]}", file=sys.stderr)
    rows = {
        name: {
            "seconds": spread([cost.seconds for cost in found]),
            "cpu_seconds": spread([cost.cpu_seconds for cost in found]),
        }
        for name, found in costs.items()
    }
    print_table(
        f"{title}: {rounds} rounds",
        ["", "seconds", "CPU seconds"],
        [[name, str(row["seconds"]), str(row["cpu_seconds"])] for name, row in rows.items()],
    )
    return {
        "title": title,
        "rounds": rounds,
        "rows": {n: {k: asdict(v) for k, v in row.items()} for n, row in rows.items()},
    }
