"""Settings that have had another name: accepted for one release, with a warning."""

import logging
from typing import Any

from skinclf.errors import ConfigError

SECTIONS = {"supervise": "fault_tolerance"}
"""Section before → now."""

KEYS = {
    "model.centred": "zero_centered",
    "train.global_batch": "global_batch_size",
    "train.schedule": "lr_schedule",
    "train.best_metric": "monitor",
    "train.early_stopping": "early_stopping_patience",
    "train.memory_mb": "image_cache_mb",
    "fault_tolerance.slots_seconds": "slot_wait_timeout_seconds",
    "fault_tolerance.start_seconds": "startup_timeout_seconds",
    "fault_tolerance.silence_seconds": "heartbeat_timeout_seconds",
    "fault_tolerance.stall_seconds": "step_timeout_seconds",
    "evaluate.flips": "tta",
    "evaluate.bootstrap": "bootstrap_samples",
    "evaluate.melanoma_sensitivities": "screening_sensitivities",
    "evaluate.batch_images": "batch_size",
    "score.paths": "archive",
    "score.path": "output",
    "score.flips": "tta",
    "score.max_rejects": "max_reject_fraction",
    "score.batch_images": "batch_size",
}
"""Section (by its name now) and key before → key now."""

VALUES: dict[str, dict[str | bool, str]] = {
    "archive.reader": {"direct": "pyarrow"},
    "model.name": {"paper": "benbrahim2020"},
    "train.augment.rotate": {False: "none", True: "quarter"},
    "evaluate.tta": {False: "none", True: "flips"},
    "score.tta": {False: "none", True: "flips"},
}
"""Key → value before → now."""

log = logging.getLogger(__name__)


def renamed(key: str) -> str:
    """The dotted name that a setting has now; the same for all others."""
    section, dot, rest = key.partition(".")
    section = SECTIONS.get(section, section)
    return f"{section}.{KEYS.get(f'{section}.{rest}', rest)}" if dot else section


def renamed_value(key: str, value: Any, *, warn: bool) -> Any:
    """The value that a setting, or a table of them (by its name now), has now."""
    if isinstance(value, dict):
        return {name: renamed_value(f"{key}.{name}", of, warn=warn) for name, of in value.items()}
    new = VALUES.get(key, {}).get(value, value) if isinstance(value, str | bool) else value
    if new is not value and warn:
        log.warning("%s: %r is now called %r", key, value, new)
    return new


def warn_of_name(before: str, now: str) -> None:
    """Log that a setting has another name now, if it has."""
    if before != now:
        log.warning("%s is now called %s; the next release knows that name alone", before, now)


def with_new_names(tree: dict[str, Any], *, warn: bool) -> dict[str, Any]:
    """A tree of sections with today's names and values; `warn`: log each old one.

    Raises ConfigError where it has both names of a setting.
    """
    found: dict[str, Any] = {}
    for old_section, settings in tree.items():
        section = SECTIONS.get(old_section, old_section)
        if not isinstance(settings, dict):
            found[section] = settings
            continue
        place = found.setdefault(section, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{section} = {place!r}: {section} is a section: [{section}]")
        for old, value in settings.items():
            now = renamed(f"{section}.{old}")
            key = now.partition(".")[2]
            if warn:
                warn_of_name(f"{old_section}.{old}", now)
            if key in place:
                raise ConfigError(
                    f"{now}: is set twice, under its name and under the one that it had: keep {now}"
                )
            place[key] = renamed_value(now, value, warn=warn)
    return found
