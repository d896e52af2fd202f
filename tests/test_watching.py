import threading
from collections.abc import Callable

import pytest

from skinclf.errors import StorageError
from skinclf.watching import PAUSES, retried, watching


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
    monkeypatch.setattr("skinclf.watching.CANCEL_SECONDS", 0.0)
    calls = threading.Semaphore(0)

    def watch(_done: threading.Event) -> None:
        raise StorageError("gone")

    def block() -> None:
        with watching(watch, calls.release):
            for _ in range(3):
                calls.acquire()

    with pytest.raises(StorageError):
        block()


def failing(times: int) -> Callable[[], str]:
    errors = iter([OSError(116, "Stale file handle")] * times)

    def read() -> str:
        for error in errors:
            raise error
        return "content"

    return read


def test_a_read_that_fails_is_tried_again_after_growing_pauses() -> None:
    pauses: list[float] = []
    assert retried(failing(3), pauses.append) == "content"
    assert pauses == list(PAUSES[:3])


def test_a_read_that_goes_on_failing_is_an_error_of_the_storage() -> None:
    pauses: list[float] = []
    with pytest.raises(StorageError, match=r"tried 6 times.*Stale file handle"):
        retried(failing(100), pauses.append)
    assert pauses == list(PAUSES)
