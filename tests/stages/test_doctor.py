from pathlib import Path
from typing import Any

import pytest

from skinclf.errors import RunError
from skinclf.stages import doctor as module
from skinclf.stages.doctor import REGISTRATION_SECONDS, doctor
from tests.support.pipeline import pipeline_config


def test_missing_slots_are_reported_and_not_waited_for(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training waits ten minutes for them, by default."""
    asked: list[Any] = []
    monkeypatch.setattr(module, "preflight", lambda *arguments: asked.append(arguments[-1]))
    config = pipeline_config(prepared)
    assert config.fault_tolerance.slot_wait_timeout_seconds == 600
    doctor(config)
    assert asked[0].slot_wait_timeout_seconds == REGISTRATION_SECONDS <= 15


def test_a_run_that_train_would_refuse_is_refused(trained: Path) -> None:
    with pytest.raises(RunError, match="holds a run of another config"):
        doctor(pipeline_config(trained, "train.learning_rate=0.5"))
