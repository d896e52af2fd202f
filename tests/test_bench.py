"""What the benchmarks compute, apart from time."""

import json
import sys

import numpy as np
import pytest

from bench import ablation
from bench.measure import measured
from bench.page import PAGE, RESULTS, page
from bench.paired import ImageCost, _row
from bench.seeds import mean
from skinclf.evaluation.bootstrap import Draws


@pytest.mark.parametrize("runs", [3, 5])
def test_95_of_100_intervals_over_seeds_hold_the_true_mean(runs: int) -> None:
    """Of 3 runs, the plain bootstrap's 75 of 100 would."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        found = random.normal(size=runs)
        of_runs = [lambda draws, value=value: np.full((len(draws), 1), value) for value in found]
        draws = Draws(np.ones((400, 1)), np.zeros(1, np.int64))
        drawn = mean(of_runs, draws, random)[:, 0]
        low, high = np.percentile(drawn, (2.5, 97.5))
        held += low <= 0 <= high
    assert held / 300 == pytest.approx(0.95, abs=0.03)


def test_what_a_command_left_running_is_counted_too() -> None:
    """A process whose parent has ended: Spark's JVM and the daemon of its Python workers."""
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    orphan = ["sh", "-c", f'"{sys.executable}" -c "{spin}" & exit 0']
    assert measured(orphan).cpu_seconds >= 0.3


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        measured(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_ratios_are_taken_pair_by_pair() -> None:
    """The machine was twice as slow in the second round: the ratio does not know."""
    yardstick = [ImageCost(cpu, 0, 0) for cpu in (2.0, 4.0, 2.0)]
    ours = [ImageCost(cpu, 0, 0) for cpu in (2.2, 4.4, 2.0)]
    assert str(_row(ours, yardstick)["ratio"]) == "1.10 (1.00–1.10)"
    assert str(_row(ours, yardstick)["cpu_ms"]) == "2.20 (2.00–4.40)"


def test_the_page_shows_what_was_measured() -> None:
    spread = {"median": 1.25, "least": 1.0, "most": 1.5}
    row = dict.fromkeys(("cpu_ms", "ratio", "clock_ms", "start"), spread)
    table = {"title": "score", "yardstick": "floor", "images": 10_000, "rounds": 5}
    table |= {"date": "2026-11-25", "rows": {"skinclf": row}}
    machine = {"date": "2026-11-26", "processor": "some", "cores": "2", "python": "3.11.2"}
    text = page({"machine": machine, "tables": {"score": table}})
    assert "## Score (10,000 images per round, 5 rounds, 2026-11-25)" in text
    assert "| skinclf | 1.25 (1.00–1.50) |" in text
    assert "2 cores of some. Versions: python 3.11.2." in text


def test_the_page_of_the_documentation_is_that_of_the_results() -> None:
    assert PAGE.read_text() == page(json.loads(RESULTS.read_text()))


def test_the_steps_in_the_documentation_are_those_of_the_log() -> None:
    assert ablation.table(ablation.read()) in ablation.PAGE.read_text()
