import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinclf.errors import UsageError
from skinclf.spec.image import check_batch, decode_rgb, decode_thumbnail
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.rejects import RejectedImage
from tests.support.images import encoded, jpeg

LIMIT = 10_000_000
RED_LEFT = np.zeros((150, 200, 3), np.uint8)
RED_LEFT[:, :100, 0] = 255  # the left half is red, the rest black


def reason_for(file: bytes, max_pixels: int = LIMIT) -> str:
    with pytest.raises(RejectedImage) as caught:
        decode_rgb(file, max_pixels=max_pixels)
    assert caught.value.detail
    return caught.value.reason


def test_a_photograph_becomes_75_by_100_rgb() -> None:
    pixels = decode_rgb(jpeg((200, 120, 90), (600, 450)), max_pixels=LIMIT)
    assert pixels.shape == (75, 100, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - [200, 120, 90]).max() <= 3


def test_rows_are_height_and_columns_are_width() -> None:
    pixels = decode_rgb(encoded(RED_LEFT, "PNG"), max_pixels=LIMIT)
    assert (pixels[:, :45, 0] == 255).all()
    assert (pixels[:, 55:, 0] == 0).all()


def test_decoding_at_half_size_stays_within_four_grey_levels() -> None:
    y, x = np.mgrid[0:450, 0:600]
    waves = 128 + 100 * np.sin(x / 40) * np.cos(y / 30)
    file = encoded(np.dstack([waves] * 3).astype(np.uint8), "JPEG", quality=90)
    with Image.open(io.BytesIO(file)) as image:
        in_full = np.asarray(image.resize((100, 75), Image.Resampling.BICUBIC), dtype=int)
    difference = np.abs(decode_rgb(file, max_pixels=LIMIT).astype(int) - in_full)
    assert difference.max() <= 4
    assert difference.mean() < 0.5


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to view: the left becomes the top
    pixels = decode_rgb(encoded(RED_LEFT, "JPEG", exif=exif, quality=95), max_pixels=LIMIT)
    assert pixels.shape == (75, 100, 3)
    assert pixels[:30, :, 0].min() > 240
    assert pixels[45:, :, 0].max() < 15


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
def test_a_turned_picture_of_any_format_keeps_rows_and_columns(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode_rgb(encoded(RED_LEFT, kind, exif=exif), max_pixels=LIMIT)
    assert pixels.shape == (75, 100, 3)
    assert pixels[:30, :, 0].min() > 240
    assert pixels[45:, :, 0].max() < 15


def test_grey_becomes_three_equal_channels() -> None:
    pixels = decode_rgb(encoded(np.full((90, 120), 77, np.uint8), "JPEG"), max_pixels=LIMIT)
    assert (pixels == 77).all()


def test_16_bit_grey_keeps_its_high_byte_instead_of_turning_white() -> None:
    file = encoded(np.full((90, 120), 0x4D00, np.uint16), "PNG")
    assert (decode_rgb(file, max_pixels=LIMIT) == 0x4D).all()


def test_16_bit_grey_takes_little_memory() -> None:
    """A file of some kilobytes may have twenty million pixels."""
    file = encoded(np.zeros((1500, 2000), np.uint16), "PNG")
    tracemalloc.start()
    decode_rgb(file, max_pixels=LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 1500 * 2000


def test_16_bit_grey_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    left = np.zeros((150, 200), np.uint16)
    left[:, :100] = 0xFF00
    file = encoded(left, "PNG", exif=exif)
    for pixels in (
        decode_rgb(file, max_pixels=LIMIT),
        decode_thumbnail(file, 90, max_pixels=LIMIT),
    ):
        assert pixels.shape[2] == 3
        assert pixels[:30, 40].min() > 240
        assert pixels[60:65, 40].max() < 15


def test_cmyk_becomes_rgb() -> None:
    buffer = io.BytesIO()
    Image.new("CMYK", (120, 90), (0, 255, 255, 0)).save(buffer, "JPEG")  # no cyan: red
    red, green, blue = decode_rgb(buffer.getvalue(), max_pixels=LIMIT)[40, 50]
    assert red > 240
    assert max(green, blue) < 15


def test_palette_with_transparency_becomes_rgb() -> None:
    image = Image.new("P", (120, 90), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=0)
    assert (decode_rgb(buffer.getvalue(), max_pixels=LIMIT) == [10, 200, 30]).all()


def test_no_bytes_are_empty() -> None:
    assert reason_for(b"") == "empty"


def test_text_is_unreadable() -> None:
    assert reason_for(b"<html>404 Not Found</html>") == "unreadable"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_half_a_file_is_truncated(kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (90, 120, 3), np.uint8)
    file = encoded(noise, kind)
    assert reason_for(file[: len(file) // 2]) == "truncated"


def test_a_decompression_bomb_is_too_large_before_it_is_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")  # 400 million pixels in 50 kB
    assert reason_for(buffer.getvalue(), max_pixels=89_478_485) == "too_large"
    assert reason_for(jpeg(size=(60, 45)), max_pixels=60 * 45 - 1) == "too_large"


def test_damaged_files_are_decoded_or_rejected_but_raise_nothing_else() -> None:
    random = np.random.default_rng(2)
    noise = random.integers(0, 255, (45, 60, 3), np.uint8)
    files = [encoded(noise, kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")]
    rejected = 0
    for turn in range(900):
        damaged = bytearray(files[turn % len(files)])
        for _ in range(random.integers(1, 8)):
            damaged[random.integers(0, min(len(damaged), 400))] = random.integers(0, 256)
        try:
            assert decode_rgb(bytes(damaged), max_pixels=LIMIT).shape == (75, 100, 3)
        except RejectedImage:
            rejected += 1
    assert 100 < rejected < 900


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("app13-multiple.jpg", "decoded"),
        ("broken.png", "unreadable"),
        ("hopper_gray.jpg", "decoded"),
        ("hopper_orientation_6.jpg", "decoded"),
        ("i_trns.png", "decoded"),
        ("pil_sample_cmyk.jpg", "decoded"),
        ("truncated_jpeg.jpg", "truncated"),
    ],
)
def test_odd_images_of_pillow(odd_images: Path, name: str, outcome: str) -> None:
    file = (odd_images / name).read_bytes()
    if outcome == "decoded":
        assert decode_rgb(file, max_pixels=LIMIT).shape == (75, 100, 3)
    else:
        assert reason_for(file) == outcome


# Thumbnails


def test_a_thumbnail_keeps_the_aspect_ratio_and_is_padded_with_white() -> None:
    pixels = decode_thumbnail(encoded(RED_LEFT, "PNG"), 80, max_pixels=LIMIT)
    assert pixels.shape == (80, 80, 3)
    assert (pixels[:9] == 255).all()  # 80 x 60 in the middle
    assert (pixels[15:65, :35, 0] == 255).all()
    assert (pixels[15:65, 45:] == 0).all()


def test_a_thumbnail_is_turned_as_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees: left becomes up
    buffer = io.BytesIO()
    Image.fromarray(RED_LEFT).save(buffer, "JPEG", exif=exif)
    pixels = decode_thumbnail(buffer.getvalue(), 80, max_pixels=LIMIT).astype(int)
    assert pixels[:, :5].min() > 240  # 60 x 80
    assert np.abs(pixels[5:30, 15:65] - [255, 0, 0]).max() < 20
    assert pixels[50:75, 15:65].max() < 20


def test_a_thumbnail_has_the_limits_of_a_decoded_image() -> None:
    with pytest.raises(RejectedImage, match="at most 100 taken"):
        decode_thumbnail(jpeg(), 80, max_pixels=100)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((75, 100, 3), np.uint8), r"got uint8 \(75, 100, 3\)"),  # one image, no batch
        (np.zeros((2, 100, 75, 3), np.uint8), r"\(n, 75, 100, 3\).*got uint8 \(2, 100, 75, 3\)"),
        (np.zeros((2, 75, 100, 3)), "got float64"),
        ([[1]], "got list"),
    ],
)
def test_a_batch_that_a_model_does_not_read_is_refused(images: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_batch(images, BENBRAHIM_2020)
