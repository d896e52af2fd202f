"""What the README says is checked against the code that it speaks of."""

import itertools
import re
import shlex

import pytest

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
def test_every_command_names_a_job_and_settings_that_exist(words: list[str]) -> None:
    values = dict(itertools.pairwise(words))
    settings = [after for before, after in itertools.pairwise(words) if before == "--set"]
    config = values.get("--config")
    load_config(str(REPOSITORY / config) if config else None, settings)
    job = next(word for word in words[1:] if word.endswith(".py") or not word.startswith("-"))
    if words[0] == "skinclf":
        assert (REPOSITORY / "jobs" / f"{job}.py").exists()
    else:
        assert (REPOSITORY / values["--properties-file"]).exists()
        assert any((REPOSITORY / word).exists() for word in words if word.startswith("jobs/"))


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
