"""What decides that a worker is unresponsive or hangs."""

from collections.abc import Sequence

from skinclf.config.schema import SuperviseConfig
from skinclf.storage.attempt import Beat

Progress = tuple[int, int, int]
"""A worker's epoch, step and step of validation."""


class Watchdog:
    """When each worker's last heartbeat and the last step were seen, by the driver's own clock.

    `now`: seconds of any clock that only goes forward.
    """

    def __init__(self, limits: SuperviseConfig, now: float) -> None:
        self._limits = limits
        self._heard: dict[int, tuple[int, float]] = {}
        self._progress: dict[int, Progress] = {}
        self._moved = now

    def cause(self, beats: Sequence[Beat], now: float) -> str:
        """Why the attempt has to be given up, by the workers' last heartbeats; "" if it has not.

        An unresponsive worker sends none: its process or machine is stopped. Where all send
        some but none takes a step of training or validation, some worker hangs.
        """
        beats = [beat for beat in beats if beat]
        for beat in beats:
            if self._heard.get(beat["worker"], (-1, now))[0] != beat["count"]:
                self._heard[beat["worker"]] = (beat["count"], now)
            silence = now - self._heard[beat["worker"]][1]
            if silence > self._limits.silence_seconds:
                return f"{_who(beat)} sent no heartbeat for {silence:.0f} s, last: {beat['doing']}"
        progress = {beat["worker"]: _progress(beat) for beat in beats if "step" in beat}
        if progress != self._progress:
            self._progress, self._moved = progress, now
        limit = self._limits.stall_seconds if progress else self._limits.start_seconds
        if now - self._moved > limit:
            doing = "; ".join(f"{_who(beat)}: {beat['doing']}" for beat in beats)
            return f"no step for {limit} s ({doing or 'no worker has started'})"
        return ""


def _progress(beat: Beat) -> Progress:
    return beat["epoch"], beat["step"], beat.get("validation_step", 0)


def _who(beat: Beat) -> str:
    return f"worker {beat['worker']} ({beat['host']}, process {beat['pid']})"
