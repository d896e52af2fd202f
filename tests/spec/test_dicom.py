"""Pictures in DICOM files, and nothing else of them."""

import io
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from skinclf.spec.dicom import is_dicom
from skinclf.spec.image import decode_rgb, decode_thumbnail
from skinclf.spec.rejects import RejectedImage
from tests.support.dicoms import CANARY, compressed, dicom, ybr
from tests.support.images import encoded, jpeg
from tests.support.profiles import DISPLAY_P3, profile, srgb_curve

LEFT = np.zeros((150, 200, 3), np.uint8)
LEFT[:, :100] = (200, 120, 90)
EXAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"


def reject_of(file: bytes, **options: Any) -> RejectedImage:
    with pytest.raises(RejectedImage) as caught:
        decode_rgb(file, **{"max_pixels": 10**6, **options})
    assert CANARY not in caught.value.detail
    return caught.value


@pytest.mark.parametrize(
    "file",
    [
        dicom(LEFT),
        dicom(LEFT, ImplicitVRLittleEndian),
        dicom(LEFT, ExplicitVRBigEndian),
        dicom(ybr(LEFT), PhotometricInterpretation="YBR_FULL"),
        dicom(np.moveaxis(LEFT, 2, 0).copy(), Rows=150, Columns=200, PlanarConfiguration=1),
        compressed(LEFT, "JPEG"),
        compressed(LEFT, "JPEG2000"),
        compressed(LEFT, "JPEG2000", PhotometricInterpretation="RGB"),
    ],
    ids=["explicit", "implicit", "big endian", "ybr", "planar", "jpeg", "jpeg2000", "jpeg2000 rgb"],
)
def test_pictures_are_read_in_their_colors(file: bytes) -> None:
    assert is_dicom(file)
    pixels = decode_rgb(file, max_pixels=10**6).astype(int)
    assert pixels.shape == (75, 100, 3)
    assert np.abs(pixels[:, :45] - (200, 120, 90)).max() <= 4
    assert pixels[:, 55:].max() <= 4
    assert decode_thumbnail(file, 80, max_pixels=10**6).shape == (80, 80, 3)


def test_uncompressed_pixels_are_those_of_a_png() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (90, 121, 3), np.uint8)
    expected = decode_rgb(encoded(noise, "PNG"), max_pixels=10**6)
    assert (decode_rgb(dicom(noise), max_pixels=10**6) == expected).all()


def test_grey_and_its_inverse() -> None:
    gray = np.full((90, 120), 60, np.uint8)
    assert (decode_rgb(dicom(gray), max_pixels=10**6) == 60).all()
    inverse = dicom(gray, PhotometricInterpretation="MONOCHROME1")
    assert (decode_rgb(inverse, max_pixels=10**6) == 195).all()


def palette(bits: int) -> dict[str, Any]:
    kind = np.uint16 if bits == 16 else np.uint8
    entries = {"Red": (0, 200), "Green": (0, 120), "Blue": (0, 90)}
    found: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, values in entries.items():
        found[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, bits]
        table = np.array([value << (bits - 8) for value in values], kind)
        found[f"{name}PaletteColorLookupTableData"] = table.tobytes()
    return found


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes(bits: int) -> None:
    file = dicom(np.ones((90, 120), np.uint8), **palette(bits))
    assert (decode_rgb(file, max_pixels=10**6) == (200, 120, 90)).all()


def test_a_color_profile_is_applied() -> None:
    file = dicom(LEFT, ICCProfile=profile(DISPLAY_P3, srgb_curve()))
    pixels = decode_rgb(file, max_pixels=10**6).astype(int)
    assert np.abs(pixels[:, :45] - (213, 115, 83)).max() <= 1


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("SC_rgb_small_odd.dcm", None),
        ("SC_rgb_jpeg_dcmtk.dcm", None),
        ("SC_ybr_full_422_uncompressed.dcm", None),
        ("examples_palette.dcm", None),
        ("examples_jpeg2k.dcm", None),
        ("SC_rgb_rle.dcm", "RLE Lossless"),
        ("CT_small.dcm", "pixels of 16 bits"),
        ("reportsi.dcm", "without a picture"),
        ("image_dfl.dcm", "Deflated"),
        ("examples_ybr_color.dcm", "RLE|frames"),
        ("MR_truncated.dcm", "pixels of 16 bits"),
        ("no_meta.dcm", "none of the formats"),
    ],
)
def test_files_of_others(name: str, outcome: str | None) -> None:
    file = (EXAMPLES / name).read_bytes()
    if outcome is None:
        assert decode_rgb(file, max_pixels=10**7).std() > 5
    else:
        with pytest.raises(RejectedImage, match=outcome):
            decode_rgb(file, max_pixels=10**7)


@pytest.mark.parametrize(
    ("file", "reason", "told"),
    [
        (dicom(LEFT, NumberOfFrames=3), "unsupported", "3 frames; one is expected"),
        (dicom(LEFT, BurnedInAnnotation="YES"), "unsupported", "shows text"),
        (dicom(LEFT, BurnedInAnnotation="MAYBE"), "unsupported", "shows text"),
        (dicom(LEFT, BurnedInAnnotation=["YES", "NO"]), "unsupported", "shows text"),
        (dicom(LEFT, RLELossless, PixelData=encapsulate([b"xx"])), "unsupported", "RLE Lossless"),
        (dicom(LEFT, UID("1.2.3"), PixelData=b""), "unsupported", "an unknown one"),
        (dicom(LEFT, PhotometricInterpretation=CANARY), "unsupported", "are no RGB, YBR"),
        (dicom(LEFT, SamplesPerPixel=4), "unsupported", "are no RGB, YBR"),
        (dicom(LEFT[:50]).replace(b"\x32\0", b"\x96\0"), "truncated", "ValueError in its decoder"),
        (dicom(LEFT, BitsStored=7), "unsupported", "pixels of 7 bits"),
        (dicom(LEFT, JPEGBaseline8Bit, PixelData=encapsulate([b"xx"])), "unreadable", "DICOM"),
        (compressed(LEFT, "JPEG")[:-900], "truncated", "has no pixels of it"),
        (bytes(128) + b"DICM", "unsupported", "an unknown one"),
    ],
    ids=range(13),
)
def test_what_is_no_single_picture_of_8_bits_is_a_reject(
    file: bytes, reason: str, told: str
) -> None:
    reject = reject_of(file)
    assert reject.reason == reason
    assert told in reject.detail


TWICE = LEFT.tobytes() * 2
FRAME = encoded(LEFT, "JPEG")


@pytest.mark.parametrize(
    "file",
    [
        dicom(LEFT, PixelData=TWICE),
        dicom(LEFT, PixelData=TWICE, NumberOfFrames=1),
        compressed(LEFT, "JPEG", PixelData=encapsulate([FRAME, FRAME])),
        compressed(LEFT, "JPEG", PixelData=encapsulate([FRAME, FRAME], has_bot=False)),
        compressed(LEFT, "JPEG2000", PixelData=encapsulate([encoded(LEFT, "JPEG2000")] * 2)),
    ],
    ids=["plain", "said to be one", "jpeg", "jpeg without offsets", "jpeg2000"],
)
def test_frames_that_are_not_declared_are_counted(file: bytes) -> None:
    reject = reject_of(file)
    assert reject.reason == "unsupported"
    assert "DICOM with 2 frames; one is expected" in reject.detail


def test_a_frame_in_several_fragments_is_one() -> None:
    file = compressed(LEFT, "JPEG", PixelData=encapsulate([FRAME], fragments_per_frame=3))
    assert decode_rgb(file, max_pixels=10**6).shape == (75, 100, 3)
    padded = dicom(LEFT, PixelData=LEFT.tobytes() + bytes(1000))
    assert decode_rgb(padded, max_pixels=10**6).shape == (75, 100, 3)


def test_limits_hold_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", never)
    assert reject_of(dicom(LEFT), max_pixels=150 * 200 - 1).reason == "too_large"
    claims = dicom(LEFT, Rows=65_535, Columns=65_535)
    assert reject_of(claims, max_pixels=89_000_000).reason == "too_large"
    hidden = encapsulate([encoded(np.zeros((2000, 2000, 3), np.uint8), "JPEG")])
    assert reject_of(dicom(LEFT, JPEGBaseline8Bit, PixelData=hidden)).reason == "too_large"


def test_a_file_that_unpacks_to_any_size_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("unpacked")

    file = dicom(LEFT, DeflatedExplicitVRLittleEndian)
    monkeypatch.setattr("zlib.decompress", never)
    assert "Deflated Explicit VR" in reject_of(file).detail


def test_without_the_extra_a_reject_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom.pixels", None)
    reject = reject_of(dicom(LEFT))
    assert reject.reason == "unsupported"
    assert "install skinclf[dicom]" in reject.detail
    assert reject_of(dicom(LEFT), formats=("JPEG",)).reason == "unreadable"


def test_files_are_known_by_their_content() -> None:
    assert not is_dicom(jpeg())
    assert not is_dicom(b"DICM")
    assert not is_dicom(b"")


def test_nothing_of_the_patient_is_told_whatever_is_damaged(
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    random = np.random.default_rng(11)
    small = np.asarray(random.integers(0, 256, (12, 16, 3)), np.uint8)
    files = [dicom(small), compressed(small, "JPEG"), dicom(small, ImplicitVRLittleEndian)]
    caplog.set_level(logging.DEBUG)
    told = []
    for turn in range(400):
        damaged = bytearray(files[turn % 3])
        for _ in range(random.integers(1, 12)):
            damaged[random.integers(132, min(len(damaged), 1100))] = random.integers(0, 256)
        if turn % 7 == 0:  # the patient's name where pixels are described
            place = damaged.find(b"\x28\0")
            damaged[place + 8 : place + 8 + len(CANARY)] = CANARY.encode()
        try:
            assert decode_rgb(bytes(damaged), max_pixels=10**6).shape == (75, 100, 3)
        except RejectedImage as reject:
            told.append(f"{reject} {'' if reject.__suppress_context__ else reject.__context__}")
    assert len(told) > 50
    assert CANARY not in "".join(told)
    assert CANARY not in caplog.text
    printed = capfd.readouterr()
    assert CANARY not in printed.out + printed.err
    assert not [warning for warning in recwarn if CANARY in str(warning.message)]
    thumbnail = io.BytesIO()
    Image.fromarray(decode_thumbnail(files[0], 80, max_pixels=10**6)).save(thumbnail, "JPEG")
    assert CANARY.encode() not in thumbnail.getvalue()
