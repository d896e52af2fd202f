"""The environment it runs in, interpreter included, as one archive that Spark gives to executors.

make env-archive   makes an environment of what executors need and runs this in it

spark-submit --archives dist/skinclf-env.tar.gz#environment \\
    --conf spark.pyspark.python=./environment/bin/python …

A packed virtual environment only links to an interpreter that every node must have at the same
path. This one has it inside, with the standard library and the shared libraries that these need
beyond the C library: a node needs Linux of the same processor family, with a C library no older
than this machine's, and no Python. What an executor never opens (headers, Spark's own jars, test
suites) stays out.
"""

import io
import os
import py_compile
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode
from tempfile import TemporaryDirectory

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
LIBRARY = f"lib/{PYTHON}"

LAUNCHER = f"""#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/../lib/shared${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
# Debian's Python looks for packages in folders of other names.
export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}$here/../{LIBRARY}/site-packages"
exec "$here/{PYTHON}" "$@"
"""

LEFT_OUT = re.compile(
    r"""(^|/)(__pycache__|tests)/
    |^(test|idlelib|ensurepip|turtledemo|tkinter|config-[^/]*)/  # of the standard library
    |^pyspark/(jars|bin|sbin|examples)/                  # Spark brings its own
    |^tensorflow/include/|^clang/                        # headers, and a parser of C
    |^lib-dynload/_tkinter|\.(pyc|a|pyi)$""",
    re.VERBOSE,
)
C_LIBRARY = re.compile(r"^(ld-linux|lib(c|m|dl|rt|util|pthread|resolv|gcc_s)\.so)")

Member = tuple[str, Path]
"""Where a file goes in the archive, and where it is."""


def main() -> None:
    """Write the archive that the command line names."""
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    members = dict([*interpreter(), *packages()])
    with TemporaryDirectory() as folder:
        members |= compiled(members, Path(folder))
        unpacked = sum(file.stat().st_size for file in members.values())
        # Level 1: unpacking is what every executor waits for, and it is as fast at any level.
        unfinished = target.with_name(f"{target.name}.tmp-{os.getpid()}")
        with tarfile.open(unfinished, "w:gz", compresslevel=1) as archive:
            add_launcher(archive)
            for place, file in sorted(members.items()):
                archive.add(file.resolve(), place)
        unfinished.replace(
            target
        )  # who reads it meanwhile has the one before, or the whole new one
    size = target.stat().st_size
    print(f"{target}: {size / 2**20:.0f} MB, {unpacked / 2**20:.0f} MB unpacked")


def interpreter() -> Iterator[Member]:
    """The interpreter, its standard library, and the shared libraries of both."""
    executable = Path(sys.base_prefix, "bin", PYTHON).resolve()
    yield f"bin/{PYTHON}", executable
    standard = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix}))
    files = [file for file in files_below(standard) if "-packages/" not in str(file)]
    for file in files:
        yield f"{LIBRARY}/{file.relative_to(standard)}", file
    modules = [file for file in files if file.suffix == ".so"]
    for library in sorted({found for file in [executable, *modules] for found in needed(file)}):
        yield f"lib/shared/{library.name}", library


def packages() -> Iterator[Member]:
    """Every file of the packages that are installed beside this interpreter."""
    for distribution in metadata.distributions():
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and not LEFT_OUT.search(str(file)) and path.exists():
                yield f"{LIBRARY}/site-packages/{file}", path


def compiled(members: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The bytecode of every Python file among `members`, written to `folder`.

    An archive is unpacked anew for each job: without it, each executor would first compile what it
    imports, which for TensorFlow alone is ten seconds of CPU.
    """
    sources = {place: file for place, file in members.items() if place.endswith(".py")}
    targets = [folder / str(number) for number in range(len(sources))]
    with ProcessPoolExecutor() as pool:
        written = list(pool.map(compile_file, sources.values(), targets, sources, chunksize=100))
    return {
        cache_from_source(place): target
        for place, target, done in zip(sources, targets, written, strict=True)
        if done
    }


def compile_file(source: Path, target: Path, place: str) -> bool:
    """Whether it could be compiled: some packages carry files for other versions of Python.

    Unchecked, since the time of change that Python would check may not survive the unpacking.
    """
    mode = PycInvalidationMode.UNCHECKED_HASH
    return bool(
        py_compile.compile(str(source), str(target), place, quiet=2, invalidation_mode=mode)
    )


def needed(file: Path) -> Iterator[Path]:
    """The shared libraries that a program or library is linked to, the C library aside."""
    told = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
    for name, path in re.findall(r"(\S+) => (/\S+)", told):
        if not C_LIBRARY.match(name):
            yield Path(path).with_name(name)


def files_below(folder: Path) -> list[Path]:
    """The files that belong into an archive."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [file for file in files if not LEFT_OUT.search(str(file.relative_to(folder)))]


def add_launcher(archive: tarfile.TarFile) -> None:
    """bin/python, which finds the shared libraries wherever the archive was unpacked."""
    launcher = tarfile.TarInfo("bin/python")
    launcher.mode, launcher.size = 0o755, len(LAUNCHER)
    archive.addfile(launcher, io.BytesIO(LAUNCHER.encode()))


if __name__ == "__main__":
    main()
