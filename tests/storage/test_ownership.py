"""Who may write to an output folder; time passes only on the clock that is handed in."""

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from skinclf.errors import OwnershipLost, StorageError, UsageError
from skinclf.storage import ownership
from skinclf.storage.files import write_json
from skinclf.storage.ownership import Owner, check_free, owned, process_name


class Clock:
    """Seconds that pass while somebody waits, and what happens meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.now = 1_000_000.0
        self._meanwhile = meanwhile

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._meanwhile()


def own(
    folder: Path, clock: Clock, cancel: Callable[[], None] = pytest.fail
) -> AbstractContextManager[Callable[[], None]]:
    return owned(str(folder), "prepare", cancel, now=lambda: clock.now, wait=clock.wait)


def record(folder: Path, **changes: object) -> None:
    """The record of an owner on another machine, renewed at the clock's start."""
    owner = Owner("t", "score", "node-3", 4711, "", "2026-11-01T12:04:00+00:00", 1_000_000.0)
    (folder / "owner.json").write_text(json.dumps(owner._asdict() | changes))


def test_an_owned_folder_is_refused_at_once_with_its_owner(tmp_path: Path) -> None:
    with own(tmp_path, Clock()):
        clock = Clock()
        with (
            pytest.raises(
                UsageError, match=r"a job \(prepare\) on host .*, process \d+, has owned"
            ),
            own(tmp_path, clock),
        ):
            pass
        assert clock.now == 1_000_000.0  # at once
    assert list(tmp_path.iterdir()) == []
    with own(tmp_path, Clock()):
        pass


def test_a_killed_process_of_this_machine_leaves_a_folder_that_is_free(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom skinclf.storage.ownership import owned\n"
        "with owned(sys.argv[1], 'train', None):\n    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / "owner.json").exists()
    clock = Clock()
    with own(tmp_path, clock):
        assert clock.now < 1_000_001


def test_an_owner_on_another_machine_is_known_by_its_renewals(tmp_path: Path) -> None:
    renewed = iter(range(100))
    record(tmp_path)
    alive = Clock(lambda: record(tmp_path, renewed=float(next(renewed))))
    with pytest.raises(
        UsageError, match=r"host node-3, process 4711, has owned .* since 2026-11-01"
    ):
        own(tmp_path, alive).__enter__()

    late = Clock(lambda: record(tmp_path, renewed=float(next(renewed))))
    late.now += 3600  # the clocks differ by an hour: renewed means alive
    with pytest.raises(UsageError, match="node-3"):
        own(tmp_path, late).__enter__()

    record(tmp_path)  # a moment ago: the job that takes its place starts on another machine
    gone = Clock()
    check_free(str(tmp_path), gone.wait)  # as a job does before it starts Spark
    with own(tmp_path, gone):  # nothing was renewed for half a minute, which passes once
        assert 1_000_000 + 29 < gone.now < 1_000_000 + 40


def test_a_record_that_is_away_while_it_is_renewed_is_one(tmp_path: Path) -> None:
    """As on storage that deletes a file before it renames another to its name."""
    states = iter([*[None, 1.0] * 20])

    def renew() -> None:
        renewed = next(states)
        if renewed is None:
            (tmp_path / "owner.json").unlink()
        else:
            record(tmp_path, token="another", renewed=renewed)

    record(tmp_path, token="another")
    with pytest.raises(UsageError, match="node-3"):
        own(tmp_path, Clock(renew)).__enter__()


def test_of_two_that_begin_at_once_one_gets_the_folder(tmp_path: Path) -> None:
    clock = Clock(lambda: record(tmp_path))  # another writes its record after ours
    with pytest.raises(UsageError, match="node-3"):
        own(tmp_path, clock).__enter__()
    assert json.loads((tmp_path / "owner.json").read_text())["host"] == "node-3"


def test_a_job_whose_folder_was_taken_is_ended_and_leaves_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "RENEW_SECONDS", 0.01)
    cancelled = threading.Event()
    job = own(tmp_path, Clock(), cancelled.set)
    job.__enter__()
    record(tmp_path)
    assert cancelled.wait(60)
    with pytest.raises(OwnershipLost, match="another job has taken this folder"):
        job.__exit__(None, None, None)
    assert json.loads((tmp_path / "owner.json").read_text())["host"] == "node-3"


def test_a_renewal_that_failed_does_not_take_the_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its storage fails, an owner is taken for gone: another job has the folder then."""
    write, failures = write_json, ["share"]

    def fail_once(path: str, content: object, **rest: Any) -> None:
        if failures and started.is_set():
            failures.clear()
            record(tmp_path)
            raise OSError(errno.EIO, "Input/output error")
        write(path, content, **rest)

    monkeypatch.setattr(ownership, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(ownership, "LONG_PAUSES", (0.01,))
    monkeypatch.setattr(ownership, "write_json", fail_once)
    started, cancelled = threading.Event(), threading.Event()
    job = own(tmp_path, Clock(), cancelled.set)
    job.__enter__()
    started.set()
    assert cancelled.wait(60)
    with pytest.raises(OwnershipLost):
        job.__exit__(None, None, None)
    assert json.loads((tmp_path / "owner.json").read_text())["host"] == "node-3"


def test_a_full_disk_ends_no_job_by_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tries = write_json, iter(range(100))
    renewed = threading.Event()

    def full_for_a_moment(path: str, content: object, **rest: Any) -> None:
        if 0 < next(tries) < 3:
            raise StorageError("No space left on device")
        write(path, content, **rest)
        if next(tries) > 3:
            renewed.set()

    monkeypatch.setattr(ownership, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(ownership, "write_json", full_for_a_moment)
    with own(tmp_path, Clock()):
        assert renewed.wait(60)


def test_a_record_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "RENEW_SECONDS", 0.01)
    clock, seen = Clock(), threading.Event()

    def now() -> float:
        seen.set()
        clock.now += 1
        return clock.now

    with owned(str(tmp_path), "score", pytest.fail, now=now, wait=clock.wait):
        first = json.loads((tmp_path / "owner.json").read_text())["renewed"]
        seen.clear()
        assert seen.wait(60)
    assert clock.now > first


@pytest.mark.parametrize("text", ["", "{", '{"token": 1}', "[]"])
def test_a_record_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "owner.json").write_text(text)
    with own(tmp_path, Clock()):
        pass


def test_a_process_has_a_name_of_its_own() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        name = process_name(child.pid)
        child.kill()
    assert len(name.split()) == 4
    assert process_name(child.pid) != name


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("")
    with pytest.raises(UsageError, match="is a file, or lies below one; name a folder"):
        check_free(str(tmp_path / "scores.csv"))


def test_a_record_that_this_process_could_not_delete_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage failed as a job of a notebook ended."""

    def fails(_path: str) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patch, own(tmp_path, Clock()):
        patch.setattr(ownership, "delete", fails)
        stack = own(tmp_path / "other", Clock())
        stack.__enter__()
        stack.__exit__(None, None, None)
    assert (tmp_path / "other" / "owner.json").exists()
    clock = Clock()
    with own(tmp_path / "other", clock):
        assert clock.now < 1_000_001


def test_a_process_that_is_hidden_is_judged_by_its_renewals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc may be mounted so that users see their own processes alone."""
    here = process_name(os.getpid()).split()
    renewed = iter(range(100))
    hidden = " ".join([*here[:2], "4711", "17"])
    record(tmp_path, process=hidden)

    def may_not(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", may_not)
    clock = Clock(lambda: record(tmp_path, process=hidden, renewed=float(next(renewed))))
    with pytest.raises(UsageError, match="node-3"):
        own(tmp_path, clock).__enter__()


def test_an_owner_can_ask_whether_it_still_is_one(tmp_path: Path) -> None:
    with own(tmp_path, Clock()) as check:
        check()
        taken = json.loads((tmp_path / "owner.json").read_text()) | {"token": "another"}
        (tmp_path / "owner.json").write_text(json.dumps(taken))
        with pytest.raises(OwnershipLost):
            check()
