"""The tutorial's commands are run, and print what it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.documentation import PAGES, blocks_of


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
        printed = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
        assert re.fullmatch(_pattern(shown), printed), f"{command}\n{printed}\nis not\n{shown}"


def _steps(block: str) -> list[tuple[str, str]]:
    """Each command of a console block, and what it prints."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


def _pattern(shown: str) -> str:
    """`…` stands for anything: in a line of its own for any lines, else within the line."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*?") + r"\n"
        for line in shown.splitlines()
    ]
    return "".join(lines)
