"""A job whose parent ends. Signals from outside: tests/faults/test_interruption.py."""

import subprocess
import sys
import time
from pathlib import Path

CHILD = """
import sys, time
from pathlib import Path
from skinclf.system.interruption import Interrupted, end_with_parent, ended_by_signals

folder = Path(sys.argv[1])
try:
    with ended_by_signals():
        end_with_parent()
        (folder / "begun").touch()
        time.sleep(300)
except Interrupted as error:
    (folder / "ended").write_text(str(error))
"""

PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]])
time.sleep(300)
"""


def test_a_job_whose_parent_is_killed_ends_as_by_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, CHILD, str(tmp_path)]
    with subprocess.Popen(command) as parent:
        wait_for(tmp_path / "begun")
        time.sleep(1.5)
        assert not (tmp_path / "ended").exists()  # while the parent lives, nothing happens
        parent.kill()
    wait_for(tmp_path / "ended")
    assert (tmp_path / "ended").read_text() == "SIGTERM"


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not (path.exists() and (path.name == "begun" or path.read_text())):
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.05)
