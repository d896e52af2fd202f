"""What README and docs/ say is checked against the code that they speak of."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from skinclf.cli.commands import app
from skinclf.config.loader import load_config
from tests.support.documentation import PAGES, README, blocks_of
from tests.support.repository import REPOSITORY

MOST_README_LINES = 150

NOT_OURS = {
    "road": "pipeline",
    "by the clock": "wall time",
    "broken off": "interrupted",
    "surest": "most confident",
    "flatter": "inflated",
    "go on": "continue",
    "the same command again": "rerun",
}
"""Words of our own, and what the field says."""


def commands(start: str) -> list[tuple[str, list[str]]]:
    """Every command in a code block of a page that begins with `start`, as words."""
    found = []
    for page, text in PAGES.items():
        blocks = "\n".join(blocks_of(text, "sh") + blocks_of(text, "console"))
        for line in blocks.replace("\\\n", " ").replace("&&", "\n").splitlines():
            line = re.sub(r" #.*", "", line).strip().removeprefix("$ ")
            line = line.removeprefix("$SPARK_HOME/bin/")
            if line.startswith(start):
                found.append((page, shlex.split(line)))
    return found


@pytest.mark.parametrize(
    ("page", "words"),
    commands("skinclf") + commands("spark-submit"),
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_every_command_names_a_job_options_and_settings_that_exist(
    page: str, words: list[str], tmp_path: Path
) -> None:
    job = words[1]
    if words[0] == "spark-submit":
        job = next(word for word in words if "jobs/" in word)
        before = words[: words.index(job)]
        assert (REPOSITORY / before[before.index("--properties-file") + 1]).exists()
        assert (REPOSITORY / "jobs" / Path(job).name).exists()
    arguments = words[words.index(job) + 1 :]
    command = typer.main.get_command(app).commands[Path(job).stem]  # type: ignore[attr-defined]
    given = command.make_context(job, arguments).params
    files = [config_of(page, name, tmp_path) for name in given["config"] or ()]
    load_config(files, given["assignments"] or ())


def test_the_readme_s_example_has_the_commands_that_the_tutorial_s_test_runs() -> None:
    """The same stages, options and folders, in this order: faults/test_tutorial.py runs them."""
    ours, run = (
        [without_inputs(words) for page, words in commands("skinclf") if page == name]
        for name in ("README.md", "docs/tutorial.md")
    )
    assert [stage for stage, *_ in ours] == ["prepare", "explore", "train", "evaluate", "score"]
    following = iter(run)
    assert all(command in following for command in ours)


def without_inputs(words: list[str]) -> list[str]:
    """A command without the names of its archives and their table, and without single settings."""
    _, stage, *options = words
    given = zip(options[::2], options[1::2], strict=True)
    inputs = ("--archive", "--metadata")
    kept = [(name, "" if name in inputs else value) for name, value in given if name != "--set"]
    return [stage, *(word for option in kept for word in option)]


def config_of(page: str, name: str, folder: Path) -> str:
    """A config of ours, or one that the page itself shows: `# NAME` is its first line."""
    for block in blocks_of(PAGES[page], "toml"):
        if block.startswith(f"# {name}\n"):
            file = folder / name
            file.write_text(block)
            return str(file)
    return str(REPOSITORY / "conf" / Path(name).name)


@pytest.mark.parametrize("page", PAGES)
def test_python_and_toml_blocks_can_be_read(page: str, tmp_path: Path) -> None:
    for block in blocks_of(PAGES[page], "python"):
        compile(block, page, "exec")
    for block in blocks_of(PAGES[page], "toml"):
        file = tmp_path / "block.toml"
        file.write_text(block)
        load_config(str(file))


def test_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    text = "\n".join(PAGES.values())
    for target in set(re.findall(r"(?:`|^)make ([a-z]+(?:-[a-z]+)*)\b", text, re.M)):
        assert f"\n{target}:" in makefile, target


def test_linked_files_of_the_readme_exist() -> None:
    names = re.findall(r"\]\(([^):]+)\)", README)
    assert len(names) > 5
    for name in names:
        assert (REPOSITORY / name).exists(), name


def test_the_readme_is_read_in_minutes() -> None:
    assert len(README.splitlines()) <= MOST_README_LINES


@pytest.mark.parametrize("page", PAGES)
def test_words_are_those_of_the_field(page: str) -> None:
    for word, better in NOT_OURS.items():
        found = re.search(rf"\b{word}\b", PAGES[page], re.IGNORECASE)
        assert not found, f"{page}: {word!r}; say {better!r}"


def test_the_lock_names_no_index() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--hash=sha256:" in lock
