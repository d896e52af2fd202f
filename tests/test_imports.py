import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import REPOSITORY

WINGS = (
    {"errors"},
    {"system"},
    {"spec"},
    {"config"},
    {"storage"},
    {"archives", "testing"},
    {"spark", "training", "evaluation"},
    {"reporting"},
    {"distributed"},
    {"stages"},
    {"cli", "api"},
    {"__main__"},
)
"""The parts of the package, from the bottom up: each may import itself and what is below it."""

ONE_WING = {"pyspark": {"spark", "distributed", "stages"}, "tensorflow": {"training"}}
"""Frameworks, and the parts that may import them."""


def imports() -> Iterator[tuple[Path, str, str]]:
    """(file, part of the package, imported module) for every import, wherever in a file."""
    for file in sorted((REPOSITORY / "skinclf").rglob("*.py")):
        part = file.relative_to(REPOSITORY / "skinclf").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield file, part, node.module
            elif isinstance(node, ast.Import):
                yield from ((file, part, name.name) for name in node.names)


def test_imports_point_downward_and_the_wings_know_nothing_of_each_other() -> None:
    level = {part: number for number, parts in enumerate(WINGS) for part in parts}
    astray = [
        f"{file.relative_to(REPOSITORY)} imports {module}"
        for file, part, module in imports()
        if module.startswith("skinclf.") and part != "__init__"
        for imported in [module.split(".")[1]]
        if imported != part and level[imported] >= level[part]
    ]
    assert astray == []


def test_frameworks_are_imported_where_they_belong() -> None:
    astray = [
        f"{file.relative_to(REPOSITORY)} imports {module}"
        for file, part, module in imports()
        for framework, parts in ONE_WING.items()
        if module.split(".")[0] == framework and part not in parts
    ]
    assert astray == []


def modules_of(package: str) -> list[str]:
    """The names of all modules of a package."""
    files = (REPOSITORY / package.replace(".", "/")).glob("[a-z]*.py")
    return [f"{package}.{file.stem}" for file in files]


def modules_after_importing(*names: str) -> set[str]:
    """What a fresh interpreter holds after importing modules."""
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("wing", "framework"), [("skinclf.spark", "tensorflow"), ("skinclf.training", "pyspark")]
)
def test_a_wing_brings_the_other_s_framework_by_no_detour(wing: str, framework: str) -> None:
    assert framework not in modules_after_importing(*modules_of(wing))


def test_help_needs_neither_framework() -> None:
    assert not {"tensorflow", "pyspark"} & modules_after_importing("skinclf.cli.process")


@pytest.mark.parametrize("stage", ["compare", "browse"])
def test_pages_of_what_is_there_need_neither_framework(stage: str) -> None:
    frameworks = {"tensorflow", "keras", "pyspark"}
    assert not frameworks & modules_after_importing(f"skinclf.stages.{stage}")


@pytest.mark.parametrize(
    ("stage", "unused"),
    [
        ("prepare", {"matplotlib", "pandas", "scipy", "sklearn"}),
        ("train", {"pandas", "scipy", "sklearn"}),
        ("score", {"matplotlib", "pandas", "scipy", "sklearn"}),
    ],
)
def test_a_stage_starts_without_what_it_does_not_use(stage: str, unused: set[str]) -> None:
    """Together they take longer to import than all else but TensorFlow."""
    assert not unused & modules_after_importing(f"skinclf.stages.{stage}")


WATCHED_IMPORT = """
import os, sys
class Finder:
    def find_spec(name, path, target=None):
        if name == "tensorflow":
            os.write(2, b"written during the import")
            raise ImportError(name)
sys.meta_path.insert(0, Finder)
from skinclf.training import import_tensorflow
import_tensorflow()
"""


def test_what_is_written_to_stderr_while_tensorflow_is_imported_is_not_lost() -> None:
    """The driver's own lines, and what a native crash says."""
    done = subprocess.run([sys.executable, "-c", WATCHED_IMPORT], capture_output=True, text=True)
    assert "written during the import" in done.stderr


def test_tensorflow_itself_is_quiet() -> None:
    code = (
        "from skinclf.training import import_tensorflow\nimport_tensorflow()\n"
        "import tensorflow as tf\ntf.ones(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_with_tensorflow_comes_nothing_that_is_not_used_and_it_can_be_imported_later() -> None:
    code = (
        "import sys\nfrom skinclf.training import UNUSED, import_tensorflow\nimport_tensorflow()\n"
        "import keras\nassert not set(UNUSED) & set(sys.modules)\n"
        "import matplotlib, pandas, sklearn\nassert sklearn.__version__"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


WITHOUT_TENSORFLOW = """
import sys
class Finder:
    def find_spec(name, path, target=None):
        if name == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Finder)
from skinclf.errors import ConfigError
from skinclf.training import import_tensorflow
try:
    import_tensorflow()
except ConfigError as error:
    print(error)
"""


def test_what_needs_tensorflow_says_where_it_is_missing() -> None:
    """Also in a task on another machine."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"tensorflow is not installed in {sys.executable}: pip install" in done.stdout


def test_lines_are_left_out_by_their_pattern_and_a_crash_still_speaks() -> None:
    code = (
        "import os\nfrom skinclf.system.stderr import without_lines\n"
        "with without_lines(['^I0000 ']):\n"
        "    os.write(2, b'I0000 noise\\nlast words\\n')\n    os.kill(os.getpid(), 11)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-11, "last words\n")
