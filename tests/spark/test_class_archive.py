import os
import shutil
import subprocess
from pathlib import Path

import pytest

from skinclf.config.schema import SparkConfig
from skinclf.spark import class_archive as module
from skinclf.spark.class_archive import ClassArchive, class_archive, remove_unused, write_archive
from skinclf.spark.java import java_command
from skinclf.spark.session_settings import JVM_OPTIONS
from skinclf.spark.session_start import _class_archive

JAVA = Path(shutil.which(java_command()) or "java")
CLASSES = "".join(f"java/util/{name}\n" for name in ("ArrayDeque", "BitSet", "StringJoiner"))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClassArchive:
    monkeypatch.setattr(module, "FEWEST_CLASSES", 3)
    return ClassArchive(tmp_path / "with space" / "classes-1.jsa", JAVA)


def started(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([JAVA, *options, "-version"], capture_output=True, text=True, check=False)


def written(archive: ClassArchive) -> bool:
    archive.file.parent.mkdir()
    archive.class_list.write_text(CLASSES + "java/util/Bit")  # the JVM is about to write the rest
    return write_archive(JAVA, archive.class_list, archive.file, ["-cp", ""])


def test_a_jvm_starts_with_the_archive_that_another_wrote(archive: ClassArchive) -> None:
    assert written(archive)
    assert f"-XX:SharedArchiveFile={archive.file}" in archive.options()
    # "on" where skinclf says "auto": such a JVM ends unless it can use the archive.
    assert started(*archive.options(), "-Xshare:on").returncode == 0
    assert sorted(archive.file.parent.iterdir()) == [archive.class_list, archive.file]


def test_a_jvm_goes_without_an_archive_that_is_damaged_and_says_nothing(
    archive: ClassArchive,
) -> None:
    assert written(archive)
    whole = archive.file.read_bytes()
    middle = len(whole) // 2
    usual = started("-Xshare:off")
    for damaged in (
        b"",
        b"noise" * 99999,
        whole[:middle],
        whole[:middle] + b"\xff" * 4096 + whole[middle + 4096 :],
    ):
        archive.file.unlink()
        archive.file.write_bytes(damaged)
        without = started(*archive.options())
        assert (without.returncode, without.stderr) == (0, usual.stderr)
        assert started(*archive.options(), "-Xshare:on").returncode != 0


def test_no_archive_is_written_of_a_job_that_ended_early(
    archive: ClassArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEWEST_CLASSES", 4)
    assert not written(archive)
    assert not archive.file.exists()


def test_an_archive_that_others_may_write_is_not_used(archive: ClassArchive) -> None:
    archive.file.parent.mkdir()
    archive.file.touch(mode=0o600)
    assert archive.is_ours
    archive.file.chmod(0o666)
    assert not archive.is_ours
    assert archive.options() == [f"-XX:DumpLoadedClassList={archive.class_list}"]


def test_of_several_jobs_one_writes_and_the_others_wait_an_hour(archive: ClassArchive) -> None:
    archive.file.parent.mkdir()
    assert archive._is_claimed()
    assert not archive._is_claimed()
    assert archive.options() == []  # nor does the next job record what nobody will write
    attempt = archive.file.with_suffix(".attempt")
    os.utime(attempt, (0, 0))
    assert archive._is_claimed()


def test_what_killed_processes_left_is_removed(archive: ClassArchive) -> None:
    archive.file.parent.mkdir()
    left = archive.file.with_suffix(".4711.list")
    old = archive.file.with_name("classes-0.jsa")
    young = archive.file.with_name("classes-2.jsa")
    for file in (archive.file, left, old, young):
        file.touch()
    os.utime(left, (0, 0))
    os.utime(old, (0, 0))
    remove_unused(archive.file)
    assert sorted(archive.file.parent.iterdir()) == [archive.file, young]


def test_a_place_that_can_t_be_written_is_gone_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert class_archive(str(tmp_path)) is None


def test_a_jvm_of_the_user_s_own_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("skinclf.spark.session_start.SparkContext._gateway", None)
    assert _class_archive(SparkConfig()) is not None
    assert _class_archive(SparkConfig(share_classes=False)) is None
    assert _class_archive(SparkConfig(conf={JVM_OPTIONS: "-Dmine=1"})) is None
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert _class_archive(SparkConfig()) is None
