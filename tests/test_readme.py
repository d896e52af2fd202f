"""What the README says is checked against the code that it speaks of."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from skinclf.cli.commands import app
from skinclf.config.loader import load_config
from skinclf.spec.rejects import REASONS
from tests.support.repository import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def commands(start: str) -> list[list[str]]:
    """Every command in a code block that begins with `start`, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ").replace("&&", "\n")
    lines = [re.sub(r" #.*", "", line).strip() for line in text.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(start)]


@pytest.mark.parametrize("words", commands("skinclf") + commands("spark-submit"), ids=" ".join)
def test_every_command_names_a_job_options_and_settings_that_exist(words: list[str]) -> None:
    job = words[1]
    if words[0] == "spark-submit":
        job = next(word for word in words if word.startswith("jobs/"))
        before = words[: words.index(job)]
        assert (REPOSITORY / before[before.index("--properties-file") + 1]).exists()
        assert (REPOSITORY / job).exists()
    arguments = words[words.index(job) + 1 :]
    command = typer.main.get_command(app).commands[Path(job).stem]  # type: ignore[attr-defined]
    given = command.make_context(job, arguments).params
    config = given["config"]
    load_config(str(REPOSITORY / config) if config else None, given["assignments"] or ())


def test_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]+(?:-[a-z]+)*)\b", README)) - {"and"}:
        assert f"\n{target}:" in makefile


def test_linked_files_and_named_folders_exist() -> None:
    names = re.findall(r"\]\(([^):]+)\)", README) + re.findall(r"^\| `([^`]+)` \|", README, re.M)
    assert len(names) > 5
    for name in names:
        assert (REPOSITORY / name).exists(), name


def test_every_reject_reason_is_listed() -> None:
    for reason in REASONS:
        assert f"`{reason}`" in README


def test_the_lock_names_no_index() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--hash=sha256:" in lock
