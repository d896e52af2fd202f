"""The tutorial's commands are run, and print what it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documentation import PAGES, blocks_of

FOLDER = "/home/you/tutorial"

VARYING = {
    r"\d\d:\d\d:\d\d": "TIME",
    r"\d+ images/s": "N images/s",
    r"scores/[0-9a-f]{12}": "scores/MODEL",
    r"\d+\.\d+": "DECIMAL",
    r"[ ─━]+": " ",  # columns are as wide as their numbers
}


OF_SLOW_MACHINES = r"^(epoch +\d+/\d+ +step|[a-z ]+: \d+ of \d+ tasks,) .*\n"
"""Lines of progress that are printed each half minute, or quarter."""


@pytest.mark.faults
def test_the_tutorial_s_commands_print_what_it_shows(tmp_path: Path) -> None:
    steps = [
        step for block in blocks_of(PAGES["docs/tutorial.md"], "console") for step in _steps(block)
    ]
    assert len(steps) > 8
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command, shown in steps:
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=os.environ | {"PATH": tools, "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        output = re.sub(OF_SLOW_MACHINES, "", done.stdout, flags=re.MULTILINE)
        printed = _plain(output.replace(str(tmp_path), FOLDER))
        expected = _pattern(_plain(shown))
        assert re.fullmatch(expected, printed), f"{command}\n{printed}\nis not\n{_plain(shown)}"


def _steps(block: str) -> list[tuple[str, str]]:
    """Each command of a console block, and what it prints."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


def _plain(text: str) -> str:
    """Lines without what differs from one machine to the next, and how wide that is."""
    for varying, name in VARYING.items():
        text = re.sub(varying, name, text)
    return "".join(f"{line.strip()}\n" for line in text.splitlines())


def _pattern(shown: str) -> str:
    """A line `…` stands for any lines."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else f"{re.escape(line)}\\n" for line in shown.splitlines()
    ]
    return "".join(lines)
