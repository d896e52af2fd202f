"""Archives as other systems write them, and as an attacker would: each input becomes a row."""

import bz2
import errno
import io
import lzma
import os
import re
import socket
import subprocess
import tarfile
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skinclf.archives import ArchiveReader, Selection, list_images
from skinclf.archives.files import StorageFile
from skinclf.archives.listing import LIKE_REPEATED
from skinclf.archives.lists import file_system_of
from skinclf.errors import ArchiveError, StorageUnavailable
from skinclf.spec.rejects import RejectedImage
from skinclf.system.retrying import PAUSES, retried
from tests.support.images import write_zip

MIB = 2**20


def rows(*paths: Path, selection: Selection | None = None) -> list[dict]:
    return list_images(map(str, paths), selection=selection).to_pylist()


def contents(*paths: Path) -> dict[str, bytes | str]:
    """The last part of each source → the file's bytes, or the reason why there are none."""
    found: dict[str, bytes | str] = {}
    with ArchiveReader(MIB) as reader:
        for entry in rows(*paths):
            name = entry["source"].rpartition("/")[2]
            try:
                found[name] = reader.read(entry)
            except RejectedImage as rejected:
                found[name] = rejected.reason
    return found


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(content))


# Tar files


@pytest.fixture
def tar_of_everything(tmp_path: Path) -> Path:
    """A folder with each kind of file, as GNU tar packs it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "first.jpg").write_bytes(b"the bytes")
    os.link(folder / "first.jpg", folder / "second.jpg")
    (folder / "soft.jpg").symlink_to("first.jpg")
    os.mkfifo(folder / "fifo.jpg")
    (folder / "deep").mkdir()
    subprocess.run(["tar", "-cf", "a.tar", "-C", "folder", "."], cwd=tmp_path, check=True)
    return tmp_path / "a.tar"


def test_every_member_that_tar_lists_is_an_input(tar_of_everything: Path) -> None:
    listed = subprocess.run(
        ["tar", "-tf", str(tar_of_everything)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    files = sorted(name for name in listed if not name.endswith("/"))
    assert sorted(row["source"].rpartition("!/")[2] for row in rows(tar_of_everything)) == files


def test_a_hard_link_in_a_tar_has_its_target_s_bytes(tar_of_everything: Path) -> None:
    assert contents(tar_of_everything) == {
        "first.jpg": b"the bytes",
        "second.jpg": b"the bytes",
        "soft.jpg": "not_a_file",
        "fifo.jpg": "not_a_file",
    }


def test_a_hard_link_leads_to_the_last_file_before_it_or_nowhere(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "x.jpg", b"old")
        add(archive, "x.jpg", b"new")
        add(archive, "y.jpg", type=tarfile.LNKTYPE, linkname="x.jpg")
        add(archive, "z.jpg", type=tarfile.LNKTYPE, linkname="y.jpg")
        add(archive, "lost.jpg", type=tarfile.LNKTYPE, linkname="nowhere.jpg")
    found = contents(tmp_path / "a.tar")
    assert found == {
        "x.jpg": b"old",
        "x.jpg#2": b"new",
        "y.jpg": b"new",
        "z.jpg": b"new",
        "lost.jpg": "unreadable",
    }


def test_a_sparse_file_in_a_tar_is_not_read_as_something_else(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.seek(MIB)
        file.write(b"end")
    subprocess.run(["tar", "-Scf", "a.tar", "a.jpg"], cwd=tmp_path, check=True)
    assert contents(tmp_path / "a.tar") == {"a.jpg": "unsupported"}


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(".tar.bz2", "b"), (".tbz2", "b"), (".tar.xz", "x"), (".TXZ", "x"), (".tar.zst", "z")],
)
def test_packed_tars_are_read(tmp_path: Path, ending: str, kind: str) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for n in range(9):
            add(archive, f"{n}.jpg", bytes([n]) * 5000)
    packers: dict[str, Callable[[bytes], bytes]] = {
        "b": bz2.compress,
        "x": lzma.compress,
        "z": zstandard,
    }
    pack = packers[kind]
    (tmp_path / f"a{ending}").write_bytes(pack(plain.getvalue()))
    assert contents(tmp_path) == {f"{n}.jpg": bytes([n]) * 5000 for n in range(9)}
    entries = rows(tmp_path)
    with ArchiveReader(MIB) as reader:  # in any order
        assert [reader.read(entries[n])[0] for n in (5, 1, 8)] == [5, 1, 8]


def zstandard(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content))


@pytest.mark.parametrize("ending", [".7z", ".rar", ".gz", ".xz"])
def test_other_archives_are_named_as_what_they_are(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"photographs{ending}").write_bytes(b"something")
    (row,) = rows(tmp_path)
    assert row["reason"] == "unsupported"
    assert row["detail"].startswith(f"{ending[1:]} files are not read")


def damaged_tar(tmp_path: Path, change: tuple[int, bytes]) -> Path:
    """Three files of 600 bytes, each 1,536 with its header; the second header is changed."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for n in range(3):
            add(archive, f"{n}.jpg", bytes([n]) * 600)
    raw = bytearray(path.read_bytes())
    start = 1536 + change[0]
    raw[start : start + len(change[1])] = change[1]
    header = bytes(raw[1536 : 1536 + 512])
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    if change[0] < 500:
        raw[1536 + 148 : 1536 + 156] = f"{total:06o}\0 ".encode()
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("change", "second"),
    [
        ((0, b"\0" * 512 + b"1" * 200), None),  # a header of zeros is an end mark
        ((148, b"12345678"), None),  # see below: the checksum is mended
        ((124, b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7), "too_large"),  # 2^63 bytes
        ((124, b"\xff" * 11 + b"\xfe"), None),  # -2 bytes
        ((156, b"x" + b"\0" * 99), None),  # a PAX header whose text is no text
        ((156, b"L"), None),  # a long name of 600 bytes, which is the next file's
    ],
)
def test_damaged_headers_end_nothing(
    tmp_path: Path, change: tuple[int, bytes], second: str | None
) -> None:
    found = contents(damaged_tar(tmp_path, change))
    assert found["0.jpg"] == bytes(600)
    assert second is None or found["1.jpg"] == second
    assert len(found) >= 2  # what is lost is told


def test_a_header_that_is_no_header_is_told(tmp_path: Path) -> None:
    """tarfile alone takes it for the end, and what follows would be lost in silence."""
    path = damaged_tar(tmp_path, (0, b""))
    raw = bytearray(path.read_bytes())
    raw[1536 + 148 : 1536 + 156] = b"99999999"
    path.write_bytes(raw)
    (told,) = [row["detail"] for row in rows(path) if row["reason"]]
    assert "no header where one is due, at byte 1536 (after 1 members)" in told


def test_a_tar_that_is_cut_off_between_members_is_told(tmp_path: Path) -> None:
    path = damaged_tar(tmp_path, (0, b""))
    path.write_bytes(path.read_bytes()[:1536])
    assert contents(path) == {"0.jpg": bytes(600), "a.tar": "unreadable"}


def test_a_tar_behind_a_tar_is_told(tmp_path: Path) -> None:
    path = damaged_tar(tmp_path, (0, b""))
    path.write_bytes(2 * path.read_bytes())
    assert contents(path)["a.tar"] == "unreadable"


def test_a_pax_header_that_claims_a_terabyte_takes_no_memory(tmp_path: Path) -> None:
    size = b"\x80" + b"\0" * 5 + (2**40).to_bytes(6, "big")
    found = contents(damaged_tar(tmp_path, (124, size + bytes(20) + b"x")))
    assert found == {"0.jpg": bytes(600), "a.tar": "unreadable"}


def test_a_chain_of_headers_that_each_name_the_next_is_told(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5
    chain = header.tobuf(tarfile.GNU_FORMAT) + b"a.jpg".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(3000 * chain)
    assert contents(tmp_path) == {"a.tar": "unreadable"}


def test_names_that_no_file_can_have_are_rejects_of_little_size(tmp_path: Path) -> None:
    """By PAX headers a small packed tar may hold gigabytes of names."""
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for n in range(2):
            add(archive, f"{n}" + 500_000 * "x")
        add(archive, "b.jpg", b"b")
    first, second, last = rows(tmp_path)
    assert (first["reason"], last["reason"]) == ("unreadable", None)
    assert first["detail"] == "its name has 500,001 characters; up to 4,096 are read"
    assert first["source"] != second["source"]
    assert len(str(first)) < 3000


def test_links_to_names_that_no_file_can_have_are_rejects_of_little_size(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for n in range(8):
            add(archive, f"{n}.jpg", type=tarfile.LNKTYPE, linkname=f"{n}" + 1_000_000 * "x")
    tracemalloc.start()
    found = rows(tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {row["reason"] for row in found} == {"unreadable"}
    assert found[7]["detail"].startswith("a hard link to 7xxx")
    assert len(str(found)) < 10_000
    assert most < 16e6  # bytes: some names at a time


# Zip files


def entry_of(path: Path, changes: dict[int, bytes], name: bytes | None = None) -> None:
    """Change bytes of the only entry in a zip's directory, and its name to one as long."""
    raw = bytearray(path.read_bytes())
    start = raw.index(b"PK\x01\x02")
    for offset, content in changes.items():
        raw[start + offset : start + offset + len(content)] = content
    if name is not None:
        raw[start + 46 : start + 46 + len(name)] = name
    path.write_bytes(raw)


def test_a_member_that_claims_a_terabyte_is_a_reject(tmp_path: Path) -> None:
    """The packed size of 2^40 bytes as ZIP64 has it, in a file of some hundred."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"content")
        archive.filelist[0].compress_size = archive.filelist[0].file_size = 2**40
    assert (tmp_path / "a.zip").stat().st_size < 300
    (row,) = rows(tmp_path / "a.zip")
    assert contents(tmp_path) == {"a.jpg": "unreadable"}
    assert "said to lie at bytes 0 to 1099511627776 of" in row["detail"]


@pytest.mark.parametrize(
    ("method", "kind"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")]
)
def test_members_by_other_methods_are_read(tmp_path: Path, method: int, kind: str) -> None:
    content = os.urandom(3000) * 9
    write_zip(tmp_path / "a.zip", {"a.jpg": content, "b.jpg": b""}, method)
    assert contents(tmp_path) == {"a.jpg": content, "b.jpg": b""}, kind


def test_a_member_by_zstandard_is_read(tmp_path: Path) -> None:
    content = b"a photograph" * 99
    packed = zstandard(content)
    write_zip(tmp_path / "a.zip", {"a.jpg": packed})
    crc, size = zipfile.crc32(content), len(content)  # type: ignore[attr-defined]
    entry_of(tmp_path / "a.zip", {10: b"\x5d\0", 16: crc.to_bytes(4, "little")})
    entry_of(tmp_path / "a.zip", {24: size.to_bytes(4, "little")})
    assert contents(tmp_path) == {"a.jpg": content}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_bombs_by_any_method_stop_at_the_size_that_they_promised(
    tmp_path: Path, method: int
) -> None:
    write_zip(tmp_path / "a.zip", {"a.jpg": bytes(5 * MIB)}, method)
    entry_of(tmp_path / "a.zip", {24: (10).to_bytes(4, "little")})
    assert contents(tmp_path) == {"a.jpg": "unreadable"}


def test_a_method_that_nobody_knows_is_unsupported(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"a.jpg": b"x"})
    entry_of(tmp_path / "a.zip", {10: (97).to_bytes(2, "little")})
    assert contents(tmp_path) == {"a.jpg": "unsupported"}


@pytest.mark.parametrize(
    ("name", "flags", "expected"),
    [
        (b"caf\xc3\xa9.jpg", 0x800, "café"),  # UTF-8, and says so
        (b"caf\xc3\xa9.jpg", 0, "café"),  # UTF-8 all the same, as macOS writes it
        (b"caf\x82.jpg_", 0, "café"),  # code page 437
        (b"caf\xe9.jpg_", 0x800, "caf%E9"),  # says UTF-8 and is not
    ],
)
def test_names_in_a_zip_are_bytes_of_some_encoding(
    tmp_path: Path, name: bytes, flags: int, expected: str
) -> None:
    write_zip(tmp_path / "a.zip", {"x" * len(name): b"content"})
    entry_of(tmp_path / "a.zip", {8: flags.to_bytes(2, "little")}, name)
    (row,) = rows(tmp_path / "a.zip")
    assert row["image_id"] == expected
    with ArchiveReader(MIB) as reader:
        assert reader.read(row) == b"content"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_in_a_tar_are_bytes_of_some_encoding(tmp_path: Path, form: int) -> None:
    names = ("café.jpg", "caf\udce9.jpg", f"{'é' * 100}.jpg", f"{chr(0xDCE9) * 200}.jpg")
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 7
            if form == tarfile.PAX_FORMAT:  # tarfile itself would say that these bytes are binary
                text = name.encode("utf-8", "surrogateescape")
                archive.fileobj.write(pax_header(b"path", text))  # type: ignore[union-attr]
                info.name = "x"
            archive.addfile(info, io.BytesIO(b"content"))
    found = rows(tmp_path / "a.tar")
    assert [row["image_id"] for row in found] == [
        *("café", "caf%E9"),
        *("é" * 100, "%E9" * 200),
    ]
    with ArchiveReader(MIB) as reader:
        assert {reader.read(row) for row in found} == {b"content"}


def pax_header(key: bytes, value: bytes) -> bytes:
    """One that says nothing of an encoding."""
    size = len(key) + len(value) + 3
    size += len(str(size + len(str(size))))
    record = b"%d %s=%s\n" % (size, key, value)
    assert len(record) == size
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf(tarfile.USTAR_FORMAT) + record + bytes(-size % tarfile.BLOCKSIZE)


def test_a_zip_of_old_windows_tools_parts_folders_by_backslashes(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"part/ISIC_0024306.jpg": b"x"})
    entry_of(tmp_path / "a.zip", {5: b"\0"}, rb"part\ISIC_0024306.jpg")
    (row,) = rows(tmp_path / "a.zip")
    assert row["image_id"] == "ISIC_0024306"
    entry_of(tmp_path / "a.zip", {5: b"\3"})  # in a zip of Unix, it is part of the name
    (row,) = rows(tmp_path / "a.zip")
    assert row["image_id"] == r"part\ISIC_0024306"


def test_a_link_in_a_zip_is_no_file(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, b"../target.jpg")
    assert contents(tmp_path) == {"link.jpg": "not_a_file"}


def test_a_directory_with_fewer_members_than_it_says_is_told(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.jpg": b"a", "b.jpg": b"b"})
    raw = archive.read_bytes()
    end = raw.rindex(b"PK\x05\x06")
    archive.write_bytes(raw[: end + 10] + b"\5\0" + raw[end + 12 :])
    assert contents(archive) == {"a.jpg": b"a", "b.jpg": b"b", "a.zip": "unreadable"}


# Folders


def test_a_folder_with_a_link_to_its_parent_is_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for n in range(10):
        (folder / "sub" / f"{n}.jpg").write_bytes(b"x")
    (folder / "loop").symlink_to("..")
    (folder / "sub" / "loop").symlink_to("../sub")
    (folder / "self").symlink_to("self")
    found = rows(folder)
    assert sum(row["reason"] is None for row in found) == 10
    assert [row["image_id"] for row in found if row["reason"]] == ["self"]


def test_each_real_file_is_one_input_whatever_links_lead_to_it(tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "folder"
    for place in (store / "inner", folder):
        place.mkdir(parents=True)
    (store / "outside.jpg").write_bytes(b"o")
    (store / "inner" / "deep.jpg").write_bytes(b"d")
    (folder / "real.jpg").write_bytes(b"r")
    (folder / "a-link.jpg").symlink_to("real.jpg")  # its target is listed anyway
    (folder / "one.jpg").symlink_to(store / "outside.jpg")
    (folder / "two.jpg").symlink_to(store / "outside.jpg")  # the same file again
    (folder / "linked").symlink_to(store / "inner")
    (folder / "again").symlink_to(store / "inner")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    assert contents(folder) == {
        "real.jpg": b"r",
        "one.jpg": b"o",
        "deep.jpg": b"d",
        "nowhere.jpg": "vanished",
    }
    assert len(rows(folder, store)) == 4  # now all that is linked to is listed itself
    selection = Selection()
    rows(folder, selection=selection)
    assert selection.summaries() == ["left out 2 symbolic links to files that are listed anyway"]
    assert len(rows(folder / "real.jpg", folder / "a-link.jpg", folder)) == 5


@pytest.mark.parametrize("setting", [{"exclude": [".git"]}, {"include": ["*.jpg"]}])
def test_a_link_is_read_where_its_target_is_not(
    tmp_path: Path, setting: dict[str, list[str]]
) -> None:
    """DataLad and git-annex keep the files in .git, under names without an ending."""
    store = tmp_path / ".git" / "annex"
    store.mkdir(parents=True)
    for key in ("KEY1", "KEY2"):
        (store / key).write_bytes(b"x")
    (tmp_path / "one.jpg").symlink_to(".git/annex/KEY1")
    (tmp_path / "again.jpg").symlink_to(".git/annex/KEY1")
    (tmp_path / "two.jpg").symlink_to(".git/annex/KEY2")
    (tmp_path / "linked").symlink_to(".git/annex")
    selection = Selection(**setting)
    found = {row["image_id"] for row in rows(tmp_path, selection=selection)}
    assert found == ({"KEY1", "KEY2"} if "exclude" in setting else {"again", "two"})
    (tmp_path / "linked").unlink()
    selection = Selection(**setting)
    assert {row["image_id"] for row in rows(tmp_path, selection=selection)} == {"again", "two"}
    assert "left out 1 symbolic links to files that are listed anyway" in selection.summaries()


def test_a_folder_on_a_share_that_fails_is_asked_again_and_never_a_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mel", "nv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"x")
    failures, stat = [0], os.stat

    def failing(path: str, **rest: Any) -> os.stat_result:
        if str(path).endswith(("mel", "1.jpg")) and failures[0]:
            failures[0] -= 1
            raise OSError(errno.ESTALE, "Stale file handle")
        return stat(path, **rest)

    monkeypatch.setattr(os, "stat", failing)
    monkeypatch.setattr("skinclf.archives.folders.retried", partial(retried, pauses=(0.0, 0.0)))
    failures[0] = 2
    assert [row["reason"] for row in rows(tmp_path)] == [None, None]
    failures[0] = 10
    with pytest.raises(StorageUnavailable, match="Stale file handle"):
        rows(tmp_path)


def test_what_is_no_file_is_a_reject(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
        assert contents(tmp_path) == {"fifo.jpg": "not_a_file", "socket.jpg": "not_a_file"}


def test_a_name_that_is_not_utf_8_is_read_like_any_other(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    for name in (b"caf\xe9.jpg", b"\xff\xfe.zip", b"plain.jpg"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"content")
    found = {row["image_id"]: row for row in rows(tmp_path)}
    assert found.keys() == {"caf%E9", "plain", "%FF%FE"}
    assert found["caf%E9"]["source"].endswith("/caf%E9/caf%E9.jpg")
    with ArchiveReader(MIB) as reader:
        assert reader.read(found["caf%E9"]) == reader.read(found["plain"]) == b"content"
    assert found["%FF%FE"]["detail"].startswith("not a readable zip file")


def test_names_in_a_tar_that_are_not_utf_8(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as a:
        add(a, "café.jpg", b"x")
        add(a, "é" * 150 + ".jpg", b"y")
    found = rows(tmp_path / "a.tar")
    assert [row["image_id"] for row in found] == ["caf%E9", "%E9" * 150]


def test_what_systems_leave_behind_is_left_out_and_counted(tmp_path: Path) -> None:
    junk = ("__MACOSX/._a.jpg", "__MACOSX/deep/x.jpg", "sub/.DS_Store", "Thumbs.db", "desktop.INI")
    write_zip(tmp_path / "a.zip", dict.fromkeys((*junk, "a.jpg"), b"x"))
    (tmp_path / "._b.zip").write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "c.jpg").write_bytes(b"x")
    patterns = ("__MACOSX", "._*", ".DS_Store", "Thumbs.db", "desktop.ini")
    selection = Selection(exclude=patterns)
    assert [row["image_id"] for row in rows(tmp_path, selection=selection)] == ["a"]
    assert selection.summaries() == [
        "left out 7 files by archive.exclude: 1 ._*, 1 .ds_store, 3 __macosx, 1 desktop.ini, "
        "1 thumbs.db"
    ]
    named = rows(tmp_path / "._b.zip", selection=selection)  # named itself, it is meant
    assert [row["image_id"] for row in named] == ["._b"]


def test_nothing_is_ever_written_by_a_member_s_name(tmp_path: Path) -> None:
    names = ("../../outside.jpg", "/absolute.jpg", "C:\\windows.jpg", "../" * 30 + "etc/passwd.jpg")
    write_zip(tmp_path / "a.zip", dict.fromkeys(names, b"x"))
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        for name in names:
            add(archive, name, b"x")
    before = sorted(tmp_path.parent.rglob("*"))
    with ArchiveReader(MIB) as reader:
        assert [reader.read(entry) for entry in rows(tmp_path)] == [b"x"] * 8
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_the_folder_that_a_job_writes_to_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    for name in ("a.jpg", "scores/part-0.parquet"):
        (tmp_path / name).write_bytes(b"x")
    listed = list_images([str(tmp_path)], leave_out=["", str(tmp_path / "scores")])
    assert listed["image_id"].to_pylist() == ["a"]


# Names that stand twice


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_called_like_a_second_one_has_a_source_of_its_own(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for n, name in enumerate(("a.jpg", "a.jpg", "a.jpg#2", "a.jpg#2", "a.jpg#2#1")):
            archive.writestr(name, bytes([n]))
    assert contents(tmp_path) == {
        "a.jpg": b"\0",
        "a.jpg#2": b"\1",
        "a.jpg#2#1": b"\2",
        "a.jpg#2#2": b"\3",
        "a.jpg#2#1#1": b"\4",
    }


@pytest.mark.parametrize("name", ["a.jpg#\N{ARABIC-INDIC DIGIT TWO}", "a.jpg#2\r", "a.jpg#2\n"])
def test_python_and_java_take_the_same_names_for_those_of_a_second_member(name: str) -> None:
    assert not re.search(LIKE_REPEATED, name)
    assert re.search(LIKE_REPEATED, "a.jpg#2")


def test_members_of_one_name_that_are_rejects_both_count(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for _ in range(2):
            add(archive, "s.jpg", type=tarfile.SYMTYPE, linkname="x")
    assert contents(tmp_path) == {"s.jpg": "not_a_file", "s.jpg#2": "not_a_file"}


# Parquet


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"image.bytes": [b"x"], "image.path": ["a"]}),  # names with dots, no struct
        pa.table([[b"x"], ["a"], ["b"]], names=["content", "path", "path"]),
        pa.table({"content": [b"x"]}),
        pa.table({"image": [{"path": "a.jpg"}]}),
    ],
)
def test_parquet_with_other_columns_is_one_reject(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "a.parquet")
    assert contents(tmp_path) == {"a.parquet": "unreadable"}


@pytest.mark.parametrize("column", ["content", "path"])
def test_a_small_parquet_file_takes_little_memory(tmp_path: Path, column: str) -> None:
    """A dictionary says 5,000 times a value of two megabytes."""
    large: list[object] = [bytes(2 * MIB) if column == "content" else "x" * 2 * MIB]
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), pa.array(large))
    small = pa.array([b"y"] * 5000 if column == "path" else [f"{n}.jpg" for n in range(5000)])
    other = "path" if column == "content" else "content"
    pq.write_table(pa.table({column: values, other: small}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < MIB
    before = pa.total_allocated_bytes()
    found = rows(tmp_path)
    assert len(found) == 5000
    with ArchiveReader(MIB) as reader:
        if column == "content":
            with pytest.raises(RejectedImage, match="too_large"):
                reader.read(found[3])
        else:
            assert reader.read(found[3]) == b"y"
        assert pa.default_memory_pool().max_memory() < before + 200 * MIB


# Bombs


@pytest.mark.parametrize("version", ["1.0", "old"])
def test_a_map_of_holes_takes_no_memory(tmp_path: Path, version: str) -> None:
    """Each hole would be a tuple of two numbers, 100 bytes for 4."""
    if version == "old":  # header, blocks of 21 holes each, of which each says that one follows
        header = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.GNU_FORMAT))
        header[156:157], header[482], header[148:156] = b"S", 1, b" " * 8
        header[483:495] = b"%011o " % 0
        header[148:156] = b"%06o\0 " % sum(header)
        more = bytearray(b"00000000001\0" * 42 + b"\1" + bytes(7))
        holes = bytes(header) + bytes(more) * 20_000
        holes += bytes(more[:504]) + bytes(8)
        tar = holes
    else:
        info = tarfile.TarInfo("a.jpg")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        body = b"2000000\n" + b"0\n0\n" * 2_000_000
        info.size = len(body)
        tar = info.tobuf(tarfile.PAX_FORMAT) + body + bytes(-len(body) % 512)
    after = io.BytesIO()
    with tarfile.open(fileobj=after, mode="w") as archive:
        add(archive, "b.jpg", b"b")
    (tmp_path / "a.tar").write_bytes(tar + after.getvalue())
    tracemalloc.start()
    found = {row["image_id"]: row["reason"] for row in rows(tmp_path)}
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == {"a": "unsupported", "b": None}
    assert most < 4 * MIB


def test_rows_without_bytes_do_not_make_a_parquet_file_be_read_anew(tmp_path: Path) -> None:
    images = [{"bytes": b"x" * 1000 if n % 2 else None, "path": f"{n}.jpg"} for n in range(200)]
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", compression="none")
    read: list[int] = []

    class Counting(StorageFile):
        def read_at(self, count: int, offset: int) -> bytes:
            read.append(count)
            return super().read_at(count, offset)

    reasons: Counter[str] = Counter()
    with ArchiveReader(MIB, Counting) as reader:
        for entry in rows(tmp_path):
            try:
                reader.read(entry)
            except RejectedImage as rejected:
                reasons[rejected.reason] += 1
    assert reasons == {"empty": 100}
    assert sum(read) < 2 * (tmp_path / "a.parquet").stat().st_size


def test_a_packed_tar_that_unpacks_to_gigabytes_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinclf.archives.tars.MOST_UNPACKED", 8 * MIB)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        add(archive, "a.jpg", b"a")
        add(archive, "zeros.jpg", bytes(64 * MIB))
        add(archive, "b.jpg", b"b")
    (tmp_path / "a.tar.bz2").write_bytes(bz2.compress(plain.getvalue()))
    found = contents(tmp_path)
    assert found["a.jpg"] == b"a"
    assert found["a.tar.bz2"] == "unreadable"
    assert "b.jpg" not in found


def test_a_member_said_to_be_packed_in_far_more_than_it_is_is_not_read(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"a.jpg": b"x" * 100})
    raw = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(bytes(MIB) + raw)  # room for the claim
    entry_of(tmp_path / "a.zip", {20: (MIB // 2).to_bytes(4, "little")})
    (row,) = rows(tmp_path / "a.zip")
    assert "100 bytes said to be packed in 524288" in row["detail"]


def test_a_comment_may_hold_what_looks_like_the_end_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"a")
        archive.comment = b"PK\5\6" + b"\xff" * 40
    assert contents(tmp_path) == {"a.jpg": b"a"}


# Lists


def test_a_list_may_hold_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "folder").mkdir()
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb") as file:
        file.write(b"e")
    lines = [b"\xef\xbb\xbfa.jpg", b"folder", b"caf\xe9.jpg", b"\0.jpg"]
    lines += [b"foo://host/b.jpg", b"https://host/c.jpg", b"https://[bad/d.jpg", b"file:[e.jpg"]
    (tmp_path / "list.txt").write_bytes(b"\r\n".join(lines))
    reasons = {row["image_id"]: row["reason"] for row in rows(tmp_path / "list.txt")}
    assert reasons == {
        "a": None,
        "folder": "not_a_file",
        "caf%E9": None,
        "%00": "unreadable",
        "b": "unreadable",
        "c": "unreadable",
        "d": "unreadable",
        "file:[e": "vanished",
    }
    (tmp_path / "long.csv").write_text(f"path\n{'x' * 200_000}\n")
    with pytest.raises(ArchiveError, match=r"long\.csv: line 2: field larger"):
        rows(tmp_path / "long.csv")
    (tmp_path / "list.csv").write_text("id,path\n1,a.jpg\n2\n")
    assert [row["image_id"] for row in rows(tmp_path / "list.csv")] == ["a"]


def test_names_of_one_scheme_are_of_one_file_system_only_with_the_same_host() -> None:
    assert file_system_of("hdfs://a/x.jpg") == file_system_of("hdfs://a/y/z.jpg")
    assert file_system_of("hdfs://a/x.jpg") != file_system_of("hdfs://b/x.jpg")
    assert file_system_of("s3://a/x") != file_system_of("s3://a/x?endpoint_override=h:1")
    assert file_system_of("/a/x.jpg") is file_system_of("file:///a/x.jpg") is None


# Storage that fails


class Failing(StorageFile):
    """A file whose first `failures` reads fail as those of a network file system do."""

    failures = 0

    def _open(self) -> pa.NativeFile:
        if Failing.failures:
            Failing.failures -= 1
            raise OSError(116, "Stale file handle")
        return super()._open()


def failing(name: str) -> Failing:
    return Failing(name, sleep=lambda seconds: None)


def test_a_storage_that_fails_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (entry,) = rows(tmp_path)
    Failing.failures = len(PAUSES)
    with ArchiveReader(MIB, failing) as reader:
        assert reader.read(entry) == b"a"


@pytest.mark.parametrize("name", ["a.jpg", "a.zip", "a.tar"])
def test_a_storage_that_fails_is_no_property_of_an_image(tmp_path: Path, name: str) -> None:
    if name == "a.zip":
        write_zip(tmp_path / name, {"x.jpg": b"x"})
    elif name == "a.tar":
        with tarfile.open(tmp_path / name, "w") as archive:
            add(archive, "x.jpg", b"x")
    else:
        (tmp_path / name).write_bytes(b"x")
    (entry,) = rows(tmp_path)
    Failing.failures = 10**6
    with ArchiveReader(MIB, failing) as reader, pytest.raises(StorageUnavailable) as caught:
        reader.read(entry)
    assert caught.value.exit_status == 75
    assert "Stale file handle" in str(caught.value)


def test_members_of_an_archive_that_was_rewritten_are_changed_not_damaged(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {f"{n}.jpg": bytes([n]) * 99 for n in range(4)})
    entries = rows(archive)
    with ArchiveReader(MIB) as reader:
        assert reader.read(entries[0]) == bytes(99)
        time.sleep(0.01)
        write_zip(archive, {f"{n}.jpg": bytes([n]) * 77 for n in range(3, -1, -1)})
        for entry in entries[1:]:
            with pytest.raises(RejectedImage, match="changed"):
                reader.read(entry)
        assert [reader.read(entry) for entry in rows(archive)] == [
            bytes([n]) * 77 for n in range(3, -1, -1)
        ]


def test_a_file_that_may_not_be_read_is_a_reject_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Denied by the file's name: this user may read everything."""

    class Denied(StorageFile):
        def _open(self) -> pa.NativeFile:
            if self.name.endswith("b.jpg"):
                raise PermissionError(13, "Permission denied")
            return super()._open()

    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"x")
    with ArchiveReader(MIB, Denied) as reader:
        found = []
        for entry in rows(tmp_path):
            try:
                found.append(reader.read(entry))
            except RejectedImage as rejected:
                found.append(rejected.reason.encode())
    assert found == [b"x", b"unreadable", b"x"]


def test_what_is_rejected_unread_is_not_changed_since_another_archive_is_open(
    tmp_path: Path,
) -> None:
    write_zip(tmp_path / "a.zip", {"1.jpg": b"1"})
    write_zip(tmp_path / "b.zip", {"more.zip": b"PK"})
    first, nested = rows(tmp_path / "a.zip")[0], rows(tmp_path / "b.zip")[0]
    with ArchiveReader(MIB) as reader:
        assert reader.read(first) == b"1"
        with pytest.raises(RejectedImage, match="nested_archive"):
            reader.read(nested)
        reader.check_unchanged(nested)
        assert reader.read(first) == b"1"
