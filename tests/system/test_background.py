import threading

import pytest

from skinclf.errors import StorageError
from skinclf.system.background import watching


def test_the_watch_ends_with_its_block() -> None:
    seen: list[bool] = []

    def watch(done: threading.Event) -> None:
        seen.append(done.wait())

    with watching(watch, cancel=pytest.fail):
        assert seen == []
    assert seen == [True]


def test_a_watch_that_fails_ends_its_block_with_its_error() -> None:
    """The block waits for what only `cancel` brings, as a training in Spark does."""
    cancelled = threading.Event()

    def watch(_done: threading.Event) -> None:
        raise StorageError("the disk is gone")

    def block() -> None:
        with watching(watch, cancelled.set):
            cancelled.wait()
            raise RuntimeError("the job was cancelled")

    with pytest.raises(StorageError, match="the disk is gone"):
        block()


def test_what_begins_after_the_first_cancellation_is_cancelled_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skinclf.system.background.CANCEL_SECONDS", 0.0)
    calls = threading.Semaphore(0)

    def watch(_done: threading.Event) -> None:
        raise StorageError("gone")

    def block() -> None:
        with watching(watch, calls.release):
            for _ in range(3):
                calls.acquire()

    with pytest.raises(StorageError):
        block()
