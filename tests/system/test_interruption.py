"""Ctrl-C in jobs: tests/faults/test_interruption.py. Here, the second one."""

import signal
import subprocess
import sys

import pytest

HANGING = """
import time
from skinclf.system.interruption import Interrupted, ended_by_signals

with ended_by_signals():
    try:
        print("begun", flush=True)
        time.sleep(600)
    except Interrupted:
        print("undoing", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_what_hangs_while_it_is_undone(number: signal.Signals) -> None:
    command = [sys.executable, "-c", HANGING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            for said in ("begun", "undoing"):
                assert process.stdout.readline().strip() == said
                process.send_signal(number)
            assert process.wait(60) == -number
        finally:
            process.kill()
