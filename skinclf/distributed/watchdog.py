"""What decides that a worker is unresponsive or hangs."""

from collections.abc import Sequence

from skinclf.config.schema import FaultToleranceConfig
from skinclf.storage.attempt import Heartbeat

Progress = tuple[int, int, int]
"""A worker's epoch, step and step of validation."""


class Watchdog:
    """When each worker's last heartbeat and the last step were seen, by the driver's own clock.

    `now`: seconds of any clock that only goes forward.
    """

    def __init__(self, limits: FaultToleranceConfig, now: float) -> None:
        self._limits = limits
        self._last: dict[int, Heartbeat] = {}
        self._heard: dict[int, float] = {}
        self._progress: dict[int, Progress] = {}
        self._moved = now

    def cause(self, heartbeats: Sequence[Heartbeat | None], now: float) -> str:
        """Why the attempt has to be given up, by the workers' last heartbeats; "" if it has not.

        None: the worker sent none yet, or its file could not be found for a moment. An unresponsive
        worker sends none: its process or machine is stopped. Where all send some but none takes a
        step of training or validation, some worker hangs.
        """
        for found in filter(None, heartbeats):
            before = self._last.get(found.worker)
            if before is None or before.count != found.count:
                self._last[found.worker], self._heard[found.worker] = found, now
        known = [self._last[worker] for worker in sorted(self._last)]
        for last in known:
            silence = now - self._heard[last.worker]
            if silence > self._limits.heartbeat_timeout_seconds:
                return f"{_who(last)} sent no heartbeat for {silence:.0f} s, last: {last.doing}"
        progress = {
            last.worker: (last.epoch, last.step, last.validation_step)
            for last in known
            if last.epoch is not None and last.step is not None
        }
        if progress != self._progress:
            self._progress, self._moved = progress, now
        limit = (
            self._limits.step_timeout_seconds if progress else self._limits.startup_timeout_seconds
        )
        if now - self._moved > limit:
            doing = "; ".join(f"{_who(last)}: {last.doing}" for last in known)
            return f"no step for {limit} s ({doing or 'no worker has started'})"
        return ""


def _who(heartbeat: Heartbeat) -> str:
    return f"worker {heartbeat.worker} ({heartbeat.host}, process {heartbeat.pid})"
