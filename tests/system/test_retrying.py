import errno
from collections.abc import Callable

import pytest

from skinclf.errors import StorageUnavailable
from skinclf.system.retrying import LONG_PAUSES, may_pass, retried


def failing(times: int) -> Callable[[], str]:
    errors = iter([OSError(116, "Stale file handle")] * times)

    def read() -> str:
        for error in errors:
            raise error
        return "content"

    return read


def test_a_read_that_fails_is_tried_again_after_growing_pauses() -> None:
    pauses: list[float] = []
    assert retried(failing(3), "run", pauses.append, LONG_PAUSES) == "content"
    assert pauses == list(LONG_PAUSES[:3])


def test_a_read_that_goes_on_failing_is_an_error_of_the_storage() -> None:
    pauses: list[float] = []
    with pytest.raises(StorageUnavailable, match=r"can't be read now: .*Stale file handle"):
        retried(failing(100), "run", pauses.append, LONG_PAUSES)
    assert pauses == list(LONG_PAUSES)


def test_what_a_share_says_while_its_server_is_away_may_pass() -> None:
    away = (OSError(errno.ESTALE, "Stale file handle"), OSError(errno.EIO, "I/O error"))
    lasting = (OSError(errno.ENOSPC, "full"), PermissionError(13, "denied"), ValueError())
    assert all(map(may_pass, away))
    assert not any(map(may_pass, lasting))


@pytest.mark.parametrize("error", [FileNotFoundError(2, "none"), PermissionError(13, "denied")])
def test_an_error_of_the_file_itself_is_not_tried_again(error: OSError) -> None:
    def read() -> None:
        raise error

    with pytest.raises(type(error)):
        retried(read, "run", lambda _: pytest.fail("it waits"))


def test_a_client_that_has_tried_long_enough_by_itself_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skinclf.system.retrying.OWN_TRIES_SECONDS", -1.0)
    pauses: list[float] = []
    with pytest.raises(StorageUnavailable):
        retried(failing(100), "hdfs://away/x", pauses.append, LONG_PAUSES)
    assert pauses == []
