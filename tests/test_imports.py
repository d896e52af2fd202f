import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def modules_after_importing(package: str) -> set[str]:
    """What a fresh interpreter holds after importing every module of a package."""
    folder = REPOSITORY / package.replace(".", "/")
    names = [f"{package}.{path.stem}" for path in Path(folder).glob("[a-z]*.py")]
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("wing", "framework", "other"),
    [
        ("skinclf.tables", "tensorflow", "skinclf.learn"),
        ("skinclf.learn", "pyspark", "skinclf.tables"),
    ],
)
def test_the_wings_know_nothing_of_each_other(wing: str, framework: str, other: str) -> None:
    modules = modules_after_importing(wing)
    assert framework not in modules
    assert other not in modules


def test_help_needs_neither_framework() -> None:
    assert not {"tensorflow", "pyspark"} & modules_after_importing_cli()


def modules_after_importing_cli() -> set[str]:
    code = "import sys, skinclf.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
