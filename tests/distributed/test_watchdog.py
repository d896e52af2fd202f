from dataclasses import replace
from typing import Any

from skinclf.config.schema import FaultToleranceConfig
from skinclf.distributed.watchdog import Watchdog
from skinclf.storage.attempt import Heartbeat

LIMITS = FaultToleranceConfig(
    startup_timeout_seconds=100, heartbeat_timeout_seconds=10, step_timeout_seconds=30
)


def beat(worker: int, count: int, doing: str = "training", **state: Any) -> Heartbeat:
    return Heartbeat(worker, "node", 70 + worker, count, doing, **state)


def test_a_worker_that_sends_no_heartbeat_is_named() -> None:
    watchdog = Watchdog(LIMITS, now=0)
    assert watchdog.cause([beat(0, 1), beat(1, 1)], 0) == ""
    assert watchdog.cause([beat(0, 2), beat(1, 1)], 9) == ""
    cause = watchdog.cause([beat(0, 3), beat(1, 1)], 11)
    assert cause == "worker 1 (node, process 71) sent no heartbeat for 11 s, last: training"


def test_workers_that_all_send_heartbeats_but_take_no_step_hang() -> None:
    watchdog = Watchdog(LIMITS, now=0)
    for second in range(0, 61, 5):
        beats = [beat(0, second, epoch=1, step=min(second, 30)), beat(1, second)]
        assert watchdog.cause(beats, second) == ""
    cause = watchdog.cause([beat(0, 61, epoch=1, step=30), beat(1, 61)], 61)
    assert cause.startswith("no step for 30 s (worker 0 (node, process 70): training; worker 1")


def test_steps_of_validation_are_steps_of_whichever_worker() -> None:
    """The first worker has fewer validation images, and waits for the second."""
    watchdog = Watchdog(LIMITS, now=0)
    place: dict[str, Any] = {"epoch": 1, "step": 125, "doing": "validating"}
    for second in range(0, 200, 5):
        first = beat(0, second, **place, validation_step=min(second, 40))
        second_worker = beat(1, second, **place, validation_step=second)
        assert watchdog.cause([first, second_worker], second) == ""
    still = [beat(n, 300, **place, validation_step=195) for n in (0, 1)]
    assert watchdog.cause(still, 200) == ""
    assert watchdog.cause([replace(b, count=301) for b in still], 231).startswith(
        "no step for 30 s"
    )


def test_a_heartbeat_that_is_not_found_for_a_moment_is_no_step_and_hides_no_silence() -> None:
    """Some storage deletes a file before it renames another to its name."""
    watchdog = Watchdog(LIMITS, now=0)
    causes = []
    for second in range(0, 60, 5):
        first, other = (beat(n, second, epoch=1, step=5) for n in (0, 1))
        causes.append(watchdog.cause([first, other if second % 25 else None], second))
    assert next(filter(None, causes)).startswith("no step for 30 s")

    watchdog = Watchdog(LIMITS, now=0)
    assert watchdog.cause([beat(0, 1), beat(1, 1)], 0) == ""
    assert "worker 1" in watchdog.cause([beat(0, 2), None], 11)


def test_workers_that_never_start_are_given_up_after_the_longer_limit() -> None:
    watchdog = Watchdog(LIMITS, now=0)
    assert watchdog.cause([None, None], 99) == ""
    assert watchdog.cause([None, None], 101) == "no step for 100 s (no worker has started)"
