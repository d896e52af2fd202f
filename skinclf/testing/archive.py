"""A small archive in HAM10000's form, drawn from nothing: two zips, a CSV, some broken files.

The pictures are not skin, but they differ by class as lesions do (color, outline, texture), so
that a network can learn them, and they repeat by lesion as HAM10000's do.
"""

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ZIPS = ("DEMO_images_part_1.zip", "DEMO_images_part_2.zip")
METADATA = "DEMO_metadata.csv"
PHOTOGRAPH = (600, 450)  # width x height, HAM10000's own
HEIGHT, WIDTH = 225, 300  # drawn at half of it, which is four times as fast
SEED = 7

LOCALIZATIONS = (
    "back",
    "lower extremity",
    "trunk",
    "upper extremity",
    "abdomen",
    "face",
)
DX_TYPES = ("histo", "follow_up", "consensus", "confocal")

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


@dataclass(frozen=True)
class Look:
    """How frequent a class is, and how it looks: RGB color of the lesion, outline, texture."""

    share: float  # of all images
    color: tuple[int, int, int]
    size: float  # radius as a share of the picture's height
    ragged: float  # how far the outline strays from a circle, 0 … 0.4
    texture: str  # "plain", "dots", "network", "lagoons", "scaly", "center"


LOOKS = {
    "akiec": Look(0.06, (196, 120, 104), 0.30, 0.20, "scaly"),
    "bcc": Look(0.08, (206, 132, 140), 0.22, 0.12, "dots"),
    "bkl": Look(0.12, (150, 112, 76), 0.34, 0.10, "scaly"),
    "df": Look(0.05, (172, 122, 102), 0.20, 0.05, "center"),
    "mel": Look(0.12, (70, 48, 46), 0.38, 0.32, "dots"),
    "nv": Look(0.52, (122, 78, 54), 0.24, 0.06, "network"),
    "vasc": Look(0.05, (168, 40, 62), 0.18, 0.10, "lagoons"),
}
"""HAM10000's classes. As skewed as there (0.67 nv, 0.01 df), 900 images would have too few of the
rare ones."""


def make_archive(
    folder: Path, images: int, seed: int = SEED, looks: Mapping[str, Look] = LOOKS
) -> None:
    """Write two zips of 600x450 JPEGs and the metadata CSV, some 2 % of it broken on purpose.

    `looks`: code → look of each class. The same arguments give the same archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(metadata_rows(images, seed, looks))
    with ProcessPoolExecutor() as pool:
        drawn, lesions = [looks[row["dx"]] for row in rows], [row["lesion_id"] for row in rows]
        files = list(pool.map(jpeg_of, drawn, lesions, range(len(rows)), chunksize=32))
    members = {f"{row['image_id']}.jpg": file for row, file in zip(rows, files, strict=True)}
    _break_some(rows, members)
    names = list(members)
    for part, zip_name in enumerate(ZIPS):
        with zipfile.ZipFile(folder / zip_name, "w", zipfile.ZIP_STORED) as archive:
            for name in names[part :: len(ZIPS)]:
                archive.writestr(zipfile.ZipInfo(name), members[name])
    with (folder / METADATA).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def metadata_rows(
    images: int, seed: int, looks: Mapping[str, Look] = LOOKS
) -> Iterator[dict[str, str]]:
    """One row an image; a third of the lesions have two photographs, some ages are unknown."""
    random = np.random.default_rng(seed)
    counts = [max(round(look.share * images), 3) for look in looks.values()]
    codes = np.repeat(list(looks), counts)
    number = lesion = 0
    while number < len(codes):
        code, lesion = str(codes[number]), lesion + 1
        shared = {
            "lesion_id": f"DEMO_{lesion:07}",
            "dx": code,
            "dx_type": str(random.choice(DX_TYPES)),
            "age": "" if random.random() < 0.03 else f"{random.integers(4, 17) * 5}.0",
            "sex": str(random.choice(["male", "female", "unknown"], p=[0.54, 0.44, 0.02])),
            "localization": str(random.choice(LOCALIZATIONS)),
        }
        for _ in range(2 if random.random() < 0.33 else 1):
            if number < len(codes) and codes[number] == code:
                yield shared | {"image_id": f"DEMO_{number:07}"}
                number += 1


def jpeg_of(look: Look, lesion_id: str, number: int) -> bytes:
    """A 600x450 photograph: the lesion by its id, light and place by the image's number."""
    lesion = np.random.default_rng([SEED, int(lesion_id[-7:])])
    photograph = np.random.default_rng([SEED, number, 1])
    pixels = draw_lesion(look, lesion, photograph)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(PHOTOGRAPH).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def draw_lesion(
    look: Look, lesion: np.random.Generator, photograph: np.random.Generator
) -> NDArray[np.uint8]:
    """(225, 300, 3) uint8: skin, the lesion on it, a few hairs, uneven light.

    Computed plane by plane: arrays whose last axis is three colors take twice the time.
    """
    y, x = _grid()
    center = photograph.normal((HEIGHT / 2, WIDTH / 2), 12)
    dy, dx = y - center[0], x - center[1]
    distance, angle = np.hypot(dy, dx), np.arctan2(dy, dx)
    phases, heights = lesion.uniform(0, 6.3, 5), lesion.normal(0, look.ragged / 2, 5)
    angle += photograph.uniform(0, 6.3)
    terms = zip(range(2, 7), phases, heights, strict=True)
    outline = 1 + sum(height * np.cos(wave * angle + phase) for wave, phase, height in terms)
    inside = 1 - distance / (HEIGHT * look.size * lesion.uniform(0.8, 1.2) * outline)
    mask = (inside.clip(-0.1, 0.1) + 0.1) * 5  # a soft rim
    skin = np.array([222, 178, 158]) + lesion.normal(0, 8, 3)
    color = np.array(look.color) + lesion.normal(0, 8, 3)
    pattern = _texture(look.texture, inside, lesion)
    around = 1 - mask
    planes = [s * around + (c + pattern) * mask for s, c in zip(skin, color, strict=True)]
    light = _light() * photograph.uniform(0.9, 1.1)
    noise = photograph.normal(0, 3, (HEIGHT, WIDTH))
    for plane in planes:
        plane *= light
        plane += noise
    for _ in range(photograph.integers(0, 5)):
        start, slope, bend = photograph.uniform([0, -0.8, -0.002], [HEIGHT, 0.8, 0.002])
        hair = np.abs(y - start - slope * x - bend * x * x) < 0.8
        for plane in planes:
            plane[hair] *= 0.45
    return np.stack([plane.clip(0, 255).astype(np.uint8) for plane in planes], axis=-1)


@cache
def _grid() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Row and column of each pixel drawn, (225, 300) each."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    return y, x


@cache
def _light() -> NDArray[np.float32]:
    """How bright each pixel is, (225, 300): less towards the corners."""
    y, x = _grid()
    return 1.05 - 0.35 * (np.hypot(y - HEIGHT / 2, x - WIDTH / 2) / WIDTH) ** 2


def _texture(
    name: str, inside: NDArray[np.float32], lesion: np.random.Generator
) -> NDArray[np.float32]:
    """What a texture adds to the color, (225, 300) gray levels."""
    y, x = _grid()
    period = lesion.uniform(11, 17)
    waves = np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period)
    textures = {
        "plain": lambda: np.zeros_like(waves),
        "network": lambda: -30 * (np.abs(waves) < 0.2),
        "dots": lambda: -45 * (waves > 0.6) + 25 * (waves < -0.8),
        "lagoons": lambda: -60 * (waves > 0.1),
        "scaly": lambda: 45 * (waves > 0.4),
        "center": lambda: 70 * (inside > 0.5),
    }
    return textures[name]().astype(np.float32)


def _break_some(rows: list[dict[str, str]], members: dict[str, bytes]) -> None:
    """Damage a few files and rows in the ways of real archives: each ends as a reject."""
    names = list(members)
    members[names[3]] = members[names[3]][: len(members[names[3]]) // 2]  # truncated
    members[names[11]] = b""  # empty
    members[names[17]] = b"<html>404 Not Found</html>"  # unreadable
    members["DEMO_no_row.jpg"] = members[names[5]]  # no_metadata
    members[f"again/{names[8]}"] = members[names[8]]  # duplicate_id
    del members[names[20]]  # no_image
    rows[23]["dx"] = "wart"  # unknown_dx
