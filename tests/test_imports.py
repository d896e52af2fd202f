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


WATCHED_IMPORT = """
import os, sys
class Finder:
    def find_spec(name, path, target=None):
        if name == "tensorflow":
            os.write(2, b"written during the import")
            raise ImportError(name)
sys.meta_path.insert(0, Finder)
from skinclf.learn import import_tensorflow
import_tensorflow()
"""


def test_what_is_written_to_stderr_while_tensorflow_is_imported_is_not_lost() -> None:
    """The driver's own lines, and what a native crash says."""
    done = subprocess.run([sys.executable, "-c", WATCHED_IMPORT], capture_output=True, text=True)
    assert "written during the import" in done.stderr


def test_tensorflow_itself_is_quiet() -> None:
    code = (
        "from skinclf.learn import import_tensorflow as i\ni()\nimport tensorflow as tf\ntf.ones(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_lines_are_left_out_by_their_pattern_and_a_crash_still_speaks() -> None:
    code = (
        "import os\nfrom skinclf.learn.noise import without_lines\n"
        "with without_lines(['^I0000 ']):\n"
        "    os.write(2, b'I0000 noise\\nlast words\\n')\n    os.kill(os.getpid(), 11)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-11, "last words\n")
