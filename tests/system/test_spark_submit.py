"""A job whose parent ends. Signals from outside: tests/faults/test_interruption.py."""

import subprocess
import sys
import time
from pathlib import Path

from tests.support.training import until

TIMEOUT_SECONDS = 60

CHILD = """
import os, sys, time
from pathlib import Path
from skinclf.system.interruption import Interrupted, ended_by_signals
from skinclf.system.spark_submit import ended_with_parent

folder = Path(sys.argv[1])
try:
    with ended_by_signals(), ended_with_parent():
        (folder / "begun").touch()
        time.sleep(300)
except Interrupted as error:
    (folder / "part").write_text(str(error))
    os.rename(folder / "part", folder / "ended")
"""

PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]])
time.sleep(300)
"""


def test_a_job_whose_parent_is_killed_ends_as_by_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, CHILD, str(tmp_path)]
    with subprocess.Popen(command) as parent:
        until((tmp_path / "begun").exists, str, TIMEOUT_SECONDS)
        time.sleep(1.5)
        assert not (tmp_path / "ended").exists()  # while the parent lives, nothing happens
        parent.kill()
    until((tmp_path / "ended").exists, str, TIMEOUT_SECONDS)
    assert (tmp_path / "ended").read_text() == "SIGTERM"
