"""The pages that people read, and the code in them."""

import re
import textwrap

from tests.support.repository import REPOSITORY

README = (REPOSITORY / "README.md").read_text()

PAGES = {"README.md": README} | {
    str(path.relative_to(REPOSITORY)): path.read_text()
    for path in sorted((REPOSITORY / "docs").rglob("*.md"))
}
"""Path → text."""


def blocks_of(text: str, language: str) -> list[str]:
    """The code blocks of a page in a language, also those that are indented."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def example(page: str, word: str) -> str:
    """The one Python block of a page that has `word`."""
    (block,) = (block for block in blocks_of(PAGES[page], "python") if word in block)
    return block
