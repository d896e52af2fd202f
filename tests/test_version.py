"""The version is in one place: skinclf/__init__.py. A release is a tag of the same name."""

import shutil
import subprocess

import pytest

import skinclf
from tests.support.repository import REPOSITORY


def test_a_tag_of_this_commit_names_its_version() -> None:
    """A clone without tags has nothing to compare."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    command = ["git", "tag", "--points-at", "HEAD", "--list", "v[0-9]*"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) <= {f"v{skinclf.__version__}"}
