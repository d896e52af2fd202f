"""The boundary of one image: whatever a file does to its decoder becomes a row."""

import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from skinclf.archives import ArchiveReader, list_images
from skinclf.archives.decoding import Decoding, decoded_row
from skinclf.archives.files import StorageFile
from skinclf.archives.isolation import IsolatedDecoder
from skinclf.config.schema import ArchiveConfig
from skinclf.errors import StorageUnavailable
from skinclf.spec.image import decode_rgb
from skinclf.spec.rejects import RejectedImage
from skinclf.system.time_limit import TimeUp, time_limit
from tests.support.decoders import MARKED
from tests.support.decoders import decode as decode_or_end
from tests.support.images import encoded, jpeg, write_zip

LIMITS = ArchiveConfig()


def reason_for(file: bytes, **options: object) -> str:
    with pytest.raises(RejectedImage) as caught:
        decode_rgb(file, max_pixels=10**7, **options)  # type: ignore[arg-type]
    return caught.value.reason


def outcomes(folder: Path, files: dict[str, bytes], decoding: Decoding) -> dict[str, str | None]:
    """image_id → reason, None for those decoded, by a process of its own."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    entries = list_images([str(folder)]).to_pylist()
    with IsolatedDecoder(decoding) as decoder:
        rows = list(decoder.rows({"row": n} | entry for n, entry in enumerate(entries)))
    assert [row["row"] for row in rows] == list(range(len(entries)))
    return {row["image_id"]: row.get("reason") for row in rows}


def test_what_the_listing_rejects_needs_no_process(tmp_path: Path) -> None:
    """A link in a packed tar has no place from which it could be unpacked."""
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("mel/1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "2.jpg"
        tar.addfile(link)
    assert outcomes(tmp_path, {}, Decoding(LIMITS)) == {"1": "not_a_file"}


# Formats


def test_a_postscript_file_called_jpg_starts_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gs = tmp_path / "gs"
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    buffer = io.BytesIO()
    Image.new("RGB", (60, 45)).save(buffer, "EPS")
    assert reason_for(buffer.getvalue()) == "unreadable"
    assert not (tmp_path / "started").exists()
    with Image.open(buffer) as image, pytest.raises(OSError):  # noqa: PT011 - ours starts nothing
        image.load()
    assert (tmp_path / "started").exists()  # Pillow alone does start it


def test_formats_can_be_fewer() -> None:
    file = encoded(np.zeros((45, 60, 3), np.uint8), "GIF")
    assert decode_rgb(file, max_pixels=10**7).shape == (75, 100, 3)
    assert reason_for(file, formats=("JPEG", "PNG")) == "unreadable"
    assert decode_rgb(jpeg(), max_pixels=10**7, formats=("JPEG",)).shape == (75, 100, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000"])
def test_each_format_is_read(kind: str) -> None:
    file = encoded(np.full((90, 120, 3), 77, np.uint8), kind)
    assert np.abs(decode_rgb(file, max_pixels=10**7).astype(int) - 77).max() <= 3


@pytest.mark.parametrize(
    "pixels",
    [
        np.linspace(0, 1, 45 * 60, dtype=np.float32).reshape(45, 60),  # was a black picture
        np.full((45, 60), 70_000, np.int32),  # of a depth that nobody gives
    ],
)
def test_pixels_that_do_not_say_how_they_become_8_bits_are_rejected(pixels: np.ndarray) -> None:
    assert reason_for(encoded(pixels, "TIFF")) == "unsupported"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_usual_modes_become_rgb(mode: str) -> None:
    buffer = io.BytesIO()
    image = Image.new("RGB", (60, 45), (255, 255, 255)).convert(mode)
    image.save(buffer, "TIFF")
    assert (decode_rgb(buffer.getvalue(), max_pixels=10**7) > 250).all()


def test_16_bit_grey_of_any_format_keeps_its_high_byte() -> None:
    pixels = np.full((90, 120), 0x4D00, np.uint16)
    for file in (encoded(pixels, "PNG"), encoded(pixels, "TIFF"), _pgm(pixels)):
        assert (decode_rgb(file, max_pixels=10**7) == 0x4D).all()


def _pgm(pixels: NDArray[np.uint16]) -> bytes:
    height, width = pixels.shape
    return f"P5 {width} {height} 65535\n".encode() + pixels.astype(">u2").tobytes()


# Time


def test_a_decoder_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(TimeUp):
        _catch_everything_for_ever()
    time.sleep(0.1)  # and nothing rings later


def _catch_everything_for_ever() -> None:
    with time_limit(0.05):
        while True:
            with suppress(Exception):  # decoders catch all kinds of things
                time.sleep(60)


def test_a_block_that_ends_in_time_is_left_alone_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(60, end_process=True):
        pass
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0


def test_a_process_that_hangs_in_one_call_is_ended_by_the_system() -> None:
    code = (
        "import hashlib\nfrom skinclf.system.time_limit import time_limit\n"
        "with time_limit(0.1, end_process=True):\n"
        "    hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2**31 - 1)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGVTALRM


# One image and the rest


def test_whatever_a_decoder_raises_is_a_reject_with_its_class(tmp_path: Path) -> None:
    def decode(file: bytes) -> NDArray[np.uint8]:
        raise MemoryError("cannot allocate 1 TB") if file == b"big" else ZeroDivisionError("by 0")

    for name in ("big", "other"):
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    with ArchiveReader(10**6) as reader:
        rows = [
            decoded_row(entry, reader, Decoding(LIMITS, decode))
            for entry in list_images([str(tmp_path)]).to_pylist()
        ]
    assert [(row["reason"], row["detail"]) for row in rows] == [
        ("unreadable", "MemoryError: cannot allocate 1 TB"),
        ("unreadable", "ZeroDivisionError: by 0"),
    ]


@pytest.mark.parametrize("name", ["a.jpg", "a.zip"])
def test_storage_errors_end_the_task_or_are_rejects_that_are_read_again(
    tmp_path: Path, name: str
) -> None:
    class Broken(StorageFile):
        def read_at(self, count: int, offset: int) -> bytes:
            raise StorageUnavailable("gone")

        def version(self) -> str:
            raise StorageUnavailable("gone")

    if name == "a.zip":
        write_zip(tmp_path / name, {"a.jpg": jpeg()})
    else:
        (tmp_path / name).write_bytes(jpeg())
    (entry,) = list_images([str(tmp_path)]).to_pylist()
    with ArchiveReader(10**6, Broken) as reader:
        with pytest.raises(StorageUnavailable):
            decoded_row(entry, reader, Decoding(LIMITS))
        lenient = Decoding(LIMITS.model_copy(update={"storage_errors": "reject"}))
        assert decoded_row(entry, reader, lenient)["reason"] == "storage_error"


def test_a_row_has_the_file_s_digest_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (entry,) = list_images([str(tmp_path)]).to_pylist()
    with ArchiveReader(10**6) as reader:
        row = decoded_row(entry, reader, Decoding(LIMITS, digests=True))
        assert row["digest"] == hashlib.sha256(jpeg()).hexdigest()
        assert "digest" not in decoded_row(entry, reader, Decoding(LIMITS))


@pytest.mark.parametrize("how", ["exit", "segfault", "kill"])
def test_a_file_that_ends_its_process_is_found_and_the_rest_is_decoded(
    tmp_path: Path, how: str
) -> None:
    files = {f"{n}.jpg": jpeg((n, n, n)) for n in range(6)}
    files["3.jpg"] = MARKED[how]
    decoding = Decoding(LIMITS, decode=decode_or_end)
    found = outcomes(tmp_path, files, decoding)
    assert found == dict.fromkeys("01245") | {"3": "crashed"}


def test_a_process_that_is_ended_once_by_others_costs_nothing(tmp_path: Path) -> None:
    """As by a system that is short of memory: the file itself is sound."""
    marker = tmp_path / "ended"
    files = {"0.jpg": jpeg(), "1.jpg": MARKED["once"] + bytes(marker), "2.jpg": jpeg()}
    (tmp_path / "files").mkdir()
    found = outcomes(tmp_path / "files", files, Decoding(LIMITS, decode=decode_or_end))
    assert found == dict.fromkeys("012")
    assert marker.exists()


def test_a_file_over_which_a_process_hangs_is_a_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinclf.archives.isolation.GRACE_SECONDS", 1.0)
    limits = LIMITS.model_copy(update={"max_decode_seconds": 2})
    files = {"0.jpg": jpeg(), "1.jpg": MARKED["hang"], "2.jpg": MARKED["sleep"]}
    found = outcomes(tmp_path, files, Decoding(limits, decode=decode_or_end))
    assert found == {"0": None, "1": "timeout", "2": "timeout"}


def test_a_file_far_into_a_packed_tar_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is unpacked from its start, which 20 seconds don't do for gigabytes."""
    waited: list[float] = []

    def received(_: IsolatedDecoder, process: object, seconds: float) -> bytes:
        waited.append(seconds)
        return pickle.dumps({})

    monkeypatch.setattr(IsolatedDecoder, "_received", received)
    with IsolatedDecoder(Decoding(LIMITS)) as decoder:
        for kind in ("tar", "tar.bz2"):
            next(iter(decoder.rows([{"kind": kind, "offset": 10**9}])))
    _, plain, packed = waited
    assert packed == plain + 200


def test_a_process_that_does_not_start_is_no_fault_of_the_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with (
        IsolatedDecoder(Decoding(LIMITS)) as decoder,
        pytest.raises(RuntimeError, match="did not start"),
    ):
        next(iter(decoder.rows([{}])))
