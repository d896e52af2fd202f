"""Spark's classes in one file that the JVM maps into memory, instead of loading 17,000 one by one.

Class-data sharing (JEP 310, 341, 350): half of the CPU time until a first small job has ended is
reading, verifying and linking classes. The first job of a machine records which ones it loads; when
its process ends, a second JVM of the lowest priority writes the archive, and the next job starts
with it. The JVM itself checks that an archive is of its own build, of these very jars and
undamaged, and goes without one that is not.
"""

import atexit
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from skinclf.spark.java import cache_folder, java_command
from skinclf.system.interruption import interrupted_by

FEWEST_CLASSES = 10_000
"""A job that loads fewer has ended early: those that it did not come to would stay slow."""

FREE_BYTES = 2**30
"""Room there must be for an archive, which takes 0.2 GB."""

RETRY_SECONDS = 3600
"""How long after an attempt nobody tries again; it takes half a minute."""

UNUSED_SECONDS = 90 * 86400
"""An archive that was written so long ago is removed with the next: its Spark or Java may be gone,
and otherwise it is written anew."""

QUIET = "-Xlog:disable"
"""An archive that does not fit is no reason for a message, which Java 25 calls an error."""


@dataclass(frozen=True)
class ClassArchive:
    """The archive of one Java and one Spark, whether it has been written or not."""

    file: Path
    java: Path

    @property
    def is_ours(self) -> bool:
        """Whether it is there and nobody else may have written it: the JVM runs what it holds."""
        try:
            status = self.file.stat()
        except OSError:
            return False
        return status.st_uid == os.geteuid() and not status.st_mode & 0o022

    @property
    def class_list(self) -> Path:
        """Where this process's JVM records the classes that it loads."""
        return self.file.with_suffix(f".{os.getpid()}.list")

    def options(self) -> list[str]:
        """What the JVM is started with: to use the archive, or to record what one would hold.

        Reading an archive's checksums takes 0.1 s; without them a damaged one would crash Spark.
        """
        if self.is_ours:
            used = ("-Xshare:auto", f"-XX:SharedArchiveFile={self.file}")
            return [*used, "-XX:+UnlockDiagnosticVMOptions", "-XX:+VerifySharedSpaces", QUIET]
        if self._was_tried() or shutil.disk_usage(self.file.parent).free < FREE_BYTES:
            return []
        return [f"-XX:DumpLoadedClassList={self.class_list}"]

    def write_at_exit(self, class_path: str, options: Sequence[str]) -> None:
        """Have the archive written when this process has done its work.

        `class_path` and `options`: those of its JVM, to the letter.
        """
        # Java 25 uses no archive that was written with other modules open.
        modules = [option for option in options if option.startswith("--")]
        atexit.register(self._start_writer, ["-cp", class_path, *modules], os.getpid())

    def _start_writer(self, options: list[str], process: int) -> None:
        if process != os.getpid():
            return  # a child that was forked
        with suppress(OSError):  # nothing that a job could fail by
            if interrupted_by() is not None or not self._is_claimed():
                self.class_list.unlink(missing_ok=True)
                return
            arguments = [self.java, self.class_list, self.file]
            writer = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,  # Ctrl-C in the terminal is for its next command
            )
            assert writer.stdin
            writer.stdin.write("\n".join(options))
            writer.stdin.close()
            writer.returncode = 0  # it is not waited for: Python need not warn of that

    def _is_claimed(self) -> bool:
        """Whether this process is the one to write it: of several that end together, one is."""
        with suppress(FileNotFoundError):
            if not self._was_tried():
                self._attempt.unlink()
        try:
            self._attempt.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _was_tried(self) -> bool:
        """Whether a process tried not long ago: it may be at work, or have failed."""
        try:
            return time.time() - self._attempt.stat().st_mtime < RETRY_SECONDS
        except OSError:
            return False

    @property
    def _attempt(self) -> Path:
        return self.file.with_suffix(".attempt")


def class_archive(spark_home: str) -> ClassArchive | None:
    """The archive for this machine's Java and the Spark at `spark_home`; None where there is no
    place for one.
    """
    with suppress(OSError, RuntimeError):  # no home folder, or one that can't be written
        java = Path(shutil.which(java_command()) or "").resolve()
        home, jars = java.parent.parent, Path(spark_home) / "jars"
        known = [(path, path.stat()) for path in (home / "lib" / "modules", jars)]
        identity = [f"{path} {status.st_mtime_ns} {status.st_size}" for path, status in known]
        key = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:12]
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return ClassArchive(folder / f"classes-{key}.jsa", java)
    return None


def write_archive(java: Path, class_list: Path, file: Path, jvm_options: Sequence[str]) -> bool:
    """Write an archive of the listed classes for a JVM of `jvm_options` → whether there is one now.

    It appears under its name when it is whole.
    """
    lines = class_list.read_text().splitlines(keepends=True)
    lines = [line for line in lines if line.endswith("\n")]  # the JVM may still write the last
    if len(lines) < FEWEST_CLASSES:
        return False
    class_list.write_text("".join(lines))
    building = class_list.with_suffix(".jsa")
    options = class_list.with_suffix(".options")
    # In a file: a long class path is too long for an argument.
    escaped = [option.replace("\\", "\\\\").replace('"', '\\"') for option in jvm_options]
    options.write_text("".join(f'"{option}"\n' for option in escaped))
    sharing = (f"-XX:SharedClassListFile={class_list}", f"-XX:SharedArchiveFile={building}")
    # As Spark starts its own: some of its options are for other versions of Java.
    lenient = "-XX:+IgnoreUnrecognizedVMOptions"
    command = [str(java), lenient, "-Xshare:dump", *sharing, "-Xmx512m", QUIET, f"@{options}"]
    try:
        done = subprocess.run(command, capture_output=True, cwd=file.parent, timeout=RETRY_SECONDS)
        if done.returncode == 0:
            building.chmod(0o444)
            building.replace(file)
    finally:
        building.unlink(missing_ok=True)
        options.unlink()
    return done.returncode == 0


def remove_unused(file: Path) -> None:
    """Remove what processes that were killed have left, and archives that are old."""
    for each in file.parent.glob("classes-*"):
        with suppress(OSError):
            age = time.time() - each.stat().st_mtime
            if each != file and age > (UNUSED_SECONDS if each.suffix == ".jsa" else RETRY_SECONDS):
                each.unlink()


def main() -> None:
    """The process that writes: java, class list and archive as arguments, JVM options as input."""
    os.nice(19)
    java, class_list, file = map(Path, sys.argv[1:])
    try:
        if write_archive(java, class_list, file, sys.stdin.read().split("\n")):
            file.with_suffix(".attempt").unlink(missing_ok=True)
    finally:
        class_list.unlink(missing_ok=True)
    remove_unused(file)


if __name__ == "__main__":
    main()
