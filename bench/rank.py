"""Which training recipe is best? Folds by lesion and left-out sources, many trainings at once.

On any machine, once, with the product's own split (the test split stays behind):

    python -m bench.rank export --dataset DATASET --archives PART_1.zip PART_2.zip \
        --metadata HAM10000_metadata_dataverse.tab.csv --to FOLDER

On a machine with one CUDA GPU (PyTorch 2.11, NumPy, Pillow; this file alone, no skinclf):

    python rank.py train --data FOLDER --out OUT base:1 matched:1 'matched@epochs=80:2'

and again on any machine (NumPy):

    python -m bench.rank table --data FOLDER --out OUT [OUT …] --base base
    python -m bench.rank record --data FOLDER --out OUT [OUT …] --hardware "one NVIDIA H100"

A recipe's unit is one seed: five trainings on four fifths of train and validation, by lesion, whose
out-of-fold answers cover every image once, and one training for each source of SOURCES left out.
`home` is the product's own train → validation. Every training writes its answers to the images it
has not seen, and a line to OUT/runs.jsonl, when it ends.

How it is computed: plain PyTorch, on the layers, initialisation, loss, optimizer and schedule of
skinclf.training (788,551 parameters), in bfloat16 as `train.precision = "bfloat16"` does it, with
float32 weights and softmax. A training step is a CUDA graph; steps of some two dozen trainings run
side by side in streams, for one of these networks alone cannot fill a GPU. Not alike: the order of
images takes no notice of shards, random numbers are another stream, gamma and beta of a
normalisation do not decay. `teacher` was tried on a CPU alone, a few steps.
"""

import argparse
import csv
import hashlib
import io
import json
import math
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SOURCES = ("rosendahl", "vidir_modern", "vidir_molemax")
"""Left out in turn; vienna_dias, 439 images of mostly two classes, is only trained on."""

FOLDS = 5
VIEWS = ("plain", "flips", "symmetries", "ema", "ema flips")
"""Whose answers a training writes: one, 4 and 8 views of an image; of averaged weights 1 and 4."""

LEAST = 10
"""Images of a class, without which its recall doesn't count in a balanced accuracy."""

CHANNELS = 3
"""Of the first layer's input as it is computed; all but three are zeros."""

GROUPS = 8
FILE_BYTES = 15 * 2**20


@dataclass(frozen=True)
class Recipe:
    """Settings of a training; the defaults are where the search began. What it found is
    conf/augmented.toml."""

    network: str = "paper"  # or "stages": four residual stages
    blocks: int = 1  # a stage
    width: int = 32  # of the first stage
    norm: str = "group"  # or "batch"
    stem: int = 2  # 4: a pooling more
    height: int = 75  # of the input; 150: the source's own
    sampler: str = "small"  # from 75x100 bilinear; "cubic": bicubic; "large": from 150x200
    batch: int = 32
    epochs: int = 30
    rate: float = 1e-3
    decay: float = 0.05
    warmup: int = 2
    dropout: float = 0.25
    smoothing: float = 0.0
    tau: float = 0.4
    mixup: float = 0.0
    sampling: float = 0.0  # 0.5: classes drawn by the square root of their size
    angle: str = "quarter"  # "any"
    shift: float = 0.1
    zoom: tuple[float, float] = (0.9, 1.1)
    aspect: float = 0.0
    untouched: float = 0.0  # share of images without zoom, in whole pixels
    brightness: float = 0.1
    contrast: float = 0.2
    gain: float = 0.0  # of each channel: e^±gain
    gamma: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0  # radians
    cutout: float = 0.0  # side of the square, of the image's height
    tone: str = "none"  # "shades": of gray, "standard": mean and deviation of each channel
    ema: float = 0.999
    teacher: str = ""  # recipe whose seeds' mean answer to the same view is learned from
    hard: float = 0.5  # weight of the labels beside the teacher's answers

    @property
    def variant(self) -> tuple[Any, ...]:
        """What is compiled; the rest are numbers."""
        shape = (self.network, self.blocks, self.width, self.norm, self.stem, self.height)
        return (*shape, self.sampler, self.batch, self.tone, self.teacher)


# ------------------------------------------------------------------------------------ the recipes

BASE = Recipe()
MATCHED = replace(BASE, sampler="large")
GEOMETRY: dict[str, Any] = {"angle": "any", "zoom": (0.75, 1.3), "aspect": 0.1}
COLOUR: dict[str, Any] = {"gain": 0.15, "gamma": 0.2, "saturation": 0.2, "hue": 0.1}
MATCHED60 = replace(MATCHED, epochs=60)
BOTH = replace(MATCHED60, **GEOMETRY, **COLOUR)
STAGES = replace(BOTH, network="stages")

RECIPES: dict[str, Recipe] = {
    "base": BASE,
    # Matched sharpness.
    "matched": MATCHED,
    "cubic": replace(BASE, sampler="cubic"),
    "half": replace(BASE, untouched=0.5),
    # Longer.
    "base80": replace(BASE, epochs=80),
    "matched60": MATCHED60,
    "matched80": replace(MATCHED, epochs=80),
    # Geometry and colour, at 60 epochs.
    "geometry": replace(MATCHED60, **GEOMETRY),
    "colour": replace(MATCHED60, **COLOUR),
    "both": BOTH,
    "both-cubic": replace(BOTH, sampler="cubic"),
    "both-shades": replace(BOTH, tone="shades"),
    "both-standard": replace(BOTH, tone="standard"),
    # What else there is, one by one; of these only both-rate and both-strong were run.
    "both-cutout": replace(BOTH, cutout=0.4),
    "both-mixup": replace(BOTH, mixup=0.2),
    "both-smooth": replace(BOTH, smoothing=0.05),
    "both-dropout": replace(BOTH, dropout=0.4),
    "both-rate": replace(BOTH, rate=2e-3),
    "both-decay": replace(BOTH, decay=0.2),
    "both-roots": replace(BOTH, sampling=0.5, tau=-0.1),  # in all as strong as tau 0.4
    "both-tau0": replace(BOTH, tau=0.0),
    "both-tau1": replace(BOTH, tau=1.0),
    "both-strong": replace(BOTH, tone="shades", gain=0.25, gamma=0.3, saturation=0.4, hue=0.15),
    # The paper's network as it was best.
    "paper": replace(BOTH, tone="shades", epochs=100),
    # The compact network; the last as it was best.
    "stages": STAGES,
    "stages-batch": replace(STAGES, norm="batch"),
    "stages-2": replace(STAGES, blocks=2),
    "stages-150": replace(STAGES, height=150, stem=4),
    "stages-150-fine": replace(STAGES, height=150),
    "compact": replace(
        STAGES, height=150, stem=4, norm="batch", rate=3e-3, dropout=0.1, tone="shades", epochs=100
    ),
}


# --------------------------------------------------------------------------------------- the data


def export(arguments: argparse.Namespace) -> None:
    """Train and validation of a prepared dataset → FOLDER/images.zip and FOLDER/table.csv."""
    import pyarrow.dataset as ds

    columns = ["image_id", "lesion_id", "label", "split"]
    tensors = ds.dataset(f"{arguments.dataset}/tensors", partitioning="hive").to_table(columns)
    with open(arguments.metadata) as file:
        sources = {row["image_id"]: row["dataset"] for row in csv.DictReader(file)}
    rows = [row for row in tensors.to_pylist() if row["split"] != "test"]
    rows.sort(key=lambda row: row["image_id"])
    fold_of = folds(rows)
    members: dict[str, tuple[zipfile.ZipFile, str]] = {}
    for name in arguments.archives:
        archive = zipfile.ZipFile(name)
        members |= {Path(m).stem: (archive, m) for m in archive.namelist() if m.endswith(".jpg")}
    folder = Path(arguments.to)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "images.zip", "w") as out:
        for row in rows:
            archive, member = members[row["image_id"]]
            out.writestr(f"{row['image_id']}.jpg", archive.read(member))
    with open(folder / "table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "source", "fold"])
        for row in rows:
            named = [str(row[name]) for name in columns]
            writer.writerow([*named, sources[row["image_id"]], fold_of[row["lesion_id"]]])
    print(len(rows), "images", Counter(row["split"] for row in rows))


def folds(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Lesion → fold, stratified by class: in the order of a hash, by images, as skinclf splits."""
    sizes = Counter((row["label"], row["lesion_id"]) for row in rows)
    found = {}
    for label in range(len(CODES)):
        lesions = [lesion for of, lesion in sizes if of == label]
        lesions.sort(key=lambda lesion: hashlib.sha256(f"2020 {lesion}".encode()).digest())
        total, before = sum(sizes[label, lesion] for lesion in lesions), 0.0
        for lesion in lesions:
            size = sizes[label, lesion]
            found[lesion] = int((before + size / 2) / total * FOLDS)
            before += size
    return found


@dataclass(frozen=True)
class Table:
    """What is known of each image."""

    image_ids: list[str]
    lesions: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    sources: np.ndarray
    folds: np.ndarray

    @classmethod
    def read(cls, folder: str) -> "Table":
        with open(Path(folder) / "table.csv") as file:
            rows = list(csv.DictReader(file))
        assert all(row["split"] in ("train", "val") for row in rows)
        _, lesions = np.unique([row["lesion_id"] for row in rows], return_inverse=True)
        return cls(
            [row["image_id"] for row in rows],
            lesions,
            np.array([int(row["label"]) for row in rows]),
            np.array([row["split"] for row in rows]),
            np.array([row["source"] for row in rows]),
            np.array([int(row["fold"]) for row in rows]),
        )

    def held_out(self, group: str) -> np.ndarray:
        """The rows that a training of this group does not see and is asked about."""
        if group == "home":
            return np.flatnonzero(self.splits == "val")
        if group.startswith("fold"):
            return np.flatnonzero(self.folds == int(group[4:]))
        return np.flatnonzero(self.sources == group)

    def trained_on(self, group: str) -> np.ndarray:
        """All others, less those that show a lesion that is held out."""
        held = np.unique(self.lesions[self.held_out(group)])
        return np.flatnonzero(~np.isin(self.lesions, held))


def decoded(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A JPEG → (150, 200, 3) as it is and (75, 100, 3) as skinclf.spec.image makes it."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        rgb = image.convert("RGB")
        return np.asarray(rgb), np.asarray(rgb.resize((100, 75), Image.Resampling.BICUBIC))


def read_images(folder: str, table: Table, limit: int) -> tuple[np.ndarray, np.ndarray]:
    with zipfile.ZipFile(Path(folder) / "images.zip") as archive:
        contents = [archive.read(f"{name}.jpg") for name in table.image_ids[:limit]]
    with ProcessPoolExecutor() as pool:
        pairs = list(pool.map(decoded, contents, chunksize=64))
    return np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])


# ------------------------------------------------------------------- the network, in plain PyTorch

KNOBS: tuple[str, ...] = (
    "any_angle",
    "shift",
    "zoom_low",
    "zoom_high",
    "aspect",
    "untouched",
    "brightness",
)
KNOBS += ("contrast", "gain", "gamma", "saturation", "hue", "cutout")
KNOBS += ("dropout", "smoothing", "decay", "ema", "seed", "hard")

DRAWS = 24


def knobs_of(recipe: Recipe, seed: int) -> list[float]:
    values = asdict(recipe) | {
        "any_angle": float(recipe.angle == "any"),
        "zoom_low": recipe.zoom[0],
        "zoom_high": recipe.zoom[1],
        "seed": seed,
    }
    return [float(values[name]) for name in KNOBS]


@dataclass(frozen=True)
class Weight:
    """One array of parameters: how large, how begun, whether it decays."""

    shape: tuple[int, ...]  # convolutions: out, height, width, in; dense: out, in
    limit: float  # uniform in ±limit; 0: a constant
    constant: float = 0.0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def decays(self) -> bool:
        return len(self.shape) > 1


def he(*shape: int) -> Weight:
    """he_uniform."""
    return Weight(shape, math.sqrt(6 / math.prod(shape[1:])))


def head(features: int) -> list[Weight]:
    """The last layer keeps Keras's glorot_uniform."""
    classes = len(CODES)
    return [Weight((classes, features), math.sqrt(6 / (features + classes))), bias(classes)]


def bias(size: int) -> Weight:
    return Weight((size,), 0.0)


def weights_of(recipe: Recipe) -> list[Weight]:
    if recipe.network == "paper":
        found, channels = [], 3
        for width in (64, 64, 128, 128):
            found += [he(width, 3, 3, channels), bias(width)]
            channels = width
        return [*found, he(512, 1024), bias(512), *head(512)]
    width = recipe.width
    found, channels = [he(width, 5, 5, 3)], width
    for stage in range(4):
        for block in range(recipe.blocks):
            width = recipe.width * 2**stage
            found += [*norm(channels), he(width, 3, 3, channels)]
            found += [*norm(width), he(width, 3, 3, width)]
            if stage and not block:
                found.append(he(width, 1, 1, channels))
            channels = width
    return [*found, *norm(channels), *head(channels)]


def norm(channels: int) -> list[Weight]:
    return [Weight((channels,), 0.0, 1.0), bias(channels)]


def initial(weights: Sequence[Weight], seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    parts = [
        random.uniform(-w.limit, w.limit, w.size) if w.limit else np.full(w.size, w.constant)
        for w in weights
    ]
    return np.concatenate(parts).astype(np.float32)


def views_of(flat: Any, weights: Sequence[Weight]) -> list[Any]:
    """One vector → its arrays; convolutions as (out, in, h, w) with channels last in memory."""
    found, place = [], 0
    for weight in weights:
        part = flat[place : place + weight.size].view(weight.shape)
        found.append(part.permute(0, 3, 1, 2) if len(weight.shape) == 4 else part)
        place += weight.size
    return found


def flat_of(arrays: Sequence[Any]) -> Any:
    import torch

    return torch.cat([(a.permute(0, 2, 3, 1) if a.dim() == 4 else a).reshape(-1) for a in arrays])


def logits_of(
    recipe: Recipe,
    arrays: Sequence[Any],
    images: Any,
    kept: Any = None,
    stats: Any = None,
    precision: Any = None,
) -> tuple[Any, Any]:
    """Images (n, h, w, 3) of 0–255 → logits (n, 7) float32 and the statistics of a batch norm.

    `kept`: the mask of dropout, scaled; `stats`: those of a batch norm that is not training.
    """
    import torch
    import torch.nn.functional as f

    kind = precision or torch.bfloat16
    scaled = (toned(images, recipe.tone) / 127.5 - 1).to(kind).permute(0, 3, 1, 2)
    # Matrix units like more channels than three: the others are zeros.
    scaled = f.pad(scaled, (0, 0, 0, 0, 0, CHANNELS - 3))
    rest: Iterator[Any] = iter(arrays)
    seen: list[Any] = []

    def take() -> Any:
        return next(rest).to(kind)

    def first() -> Any:
        return f.pad(take(), (0, 0, 0, 0, 0, CHANNELS - 3))

    def drop(x: Any) -> Any:
        return x if kept is None else x * kept.to(x.dtype)

    if recipe.network == "paper":
        x = scaled
        for layer in range(4):
            # A pooling before bias and relu, which are monotone: the same with a quarter of work.
            x = f.max_pool2d(f.conv2d(x, take() if layer else first()), 2)
            x = f.relu(x + take()[:, None, None])
        x = drop(x.permute(0, 2, 3, 1).reshape(len(x), -1))
        x = f.relu(f.linear(x, take(), take()))
    else:
        place = 0

        def normed(x: Any) -> Any:
            nonlocal place
            n, c, h, w = x.shape
            wide = x.permute(0, 2, 3, 1).float()
            if recipe.norm == "group":
                grouped = wide.reshape(n, h, w, GROUPS, c // GROUPS)
                var, mean = torch.var_mean(grouped, (1, 2, 4), correction=0, keepdim=True)
                out = ((grouped - mean) * torch.rsqrt(var + 1e-3)).reshape(n, h, w, c)
            else:
                if stats is None:
                    var, mean = torch.var_mean(wide, (0, 1, 2), correction=0)
                    seen.extend([mean.detach(), var.detach()])
                else:
                    mean, var = stats[place : place + c], stats[place + c : place + 2 * c]
                    place += 2 * c
                out = (wide - mean) * torch.rsqrt(var + 1e-3)
            out = f.relu(out * next(rest) + next(rest))
            return out.to(kind).permute(0, 3, 1, 2)

        x = f.conv2d(scaled, first(), stride=2, padding=2)
        if recipe.stem == 4:
            x = f.max_pool2d(x, 3, 2, 1)
        for stage in range(4):
            for block in range(recipe.blocks):
                smaller = stage > 0 and block == 0
                h = normed(x)
                change = f.conv2d(h, take(), stride=2 if smaller else 1, padding=1)
                change = f.conv2d(normed(change), take(), padding=1)
                if smaller:
                    x = f.conv2d(f.avg_pool2d(h, 2, ceil_mode=True), take())
                x = x + change
        x = drop(normed(x).float().mean((2, 3)))
    logits = f.linear(x.float(), next(rest), next(rest))
    return logits, (torch.cat(seen) if seen else None)


def toned(images: Any, tone: str) -> Any:
    """Colour constancy, as a layer of the network would do it."""
    import torch

    if tone == "shades":
        power = ((images / 255) ** 6).mean((1, 2), keepdim=True) ** (1 / 6) + 1e-3
        images = (images * (power.mean(3, keepdim=True) / power)).clamp(0, 255)
    elif tone == "standard":
        var, mean = torch.var_mean(images, (1, 2), correction=0, keepdim=True)
        images = 127.5 + 50 * (images - mean) * torch.rsqrt(var + 25)
    return images


# ----------------------------------------------------------------------------- training's own steps


def uniform(count: int, step: Any, seed: Any, device: Any) -> Any:
    """`count` draws in 0–1, a function of (seed, step)."""
    import torch

    def mixed(x: Any) -> Any:
        for _ in range(2):
            x = (((x >> 16) ^ x) * 0x45D9F3B) & 0xFFFFFFFF
        return (x >> 16) ^ x

    key = mixed(step + mixed(seed.long() + 1))
    x = mixed(mixed((torch.arange(count, device=device) + key) & 0xFFFFFFFF) ^ mixed(key))
    return (x >> 8).float() * 2.0**-24


def reflected(i: Any, n: int) -> Any:
    """Places up to n outside of 0 … n-1, mirrored into it."""
    import torch

    i = torch.where(i < 0, -1 - i, i)
    return torch.where(i >= n, 2 * n - 1 - i, i).clamp(0, n - 1)


def sampled(pixels: Any, rows: Any, x: Any, y: Any, cubic: bool) -> Any:
    """Pixels (N, h, w, 3) of `rows` at places (n, …), continued by their mirror images."""
    import torch

    height, width = pixels.shape[1:3]
    flat = pixels.reshape(-1, 3)
    x0, y0 = torch.floor(x), torch.floor(y)
    fx, fy = x - x0, y - y0
    start = rows[:, None, None] * height
    taps = (-1, 0, 1, 2) if cubic else (0, 1)

    def share(fraction: Any, tap: int) -> Any:
        d = (fraction - tap).abs()
        if not cubic:
            return 1 - d
        near = (1.5 * d - 2.5) * d * d + 1
        return torch.where(d < 1, near, ((-0.5 * d + 2.5) * d - 4) * d + 2)

    total: Any = 0
    for ty in taps:
        line = (start + reflected(y0.int() + ty, height)) * width
        for tx in taps:
            values = flat[line + reflected(x0.int() + tx, width)].float()
            total = total + values * (share(fx, tx) * share(fy, ty))[..., None]
    return total.clamp(0, 255)


def changes(u: Any, k: dict[str, Any]) -> Any:
    """Draws (n, DRAWS) → (n, 26): a matrix from output to input places, the shift, whether
    places are whole pixels; gains, exponent and colour matrix, contrast, brightness; the square
    that is cut out. Draws 0 to 7 are the product's own.
    """
    import torch

    def sign(n: int) -> Any:
        return torch.where(u[:, n] < 0.5, -1.0, 1.0)

    def spread(n: int) -> Any:
        return 2 * u[:, n] - 1

    one = torch.ones_like(u[:, 0])
    plain = u[:, 8] < k["untouched"]
    quarter = torch.floor(u[:, 2] * 4) * (math.pi / 2)
    angle = torch.where((k["any_angle"] > 0) & ~plain, u[:, 2] * (2 * math.pi), quarter)
    scale = torch.where(plain, 1.0, k["zoom_low"] + u[:, 7] * (k["zoom_high"] - k["zoom_low"]))
    stretch = torch.exp(torch.where(plain, 0.0, spread(9) * k["aspect"]))
    cos, sin = torch.cos(angle), torch.sin(angle)
    wide, tall = stretch / scale, 1 / (stretch * scale)
    matrix = [sign(0) * cos * wide, -sign(0) * sin * tall]
    matrix += [sign(1) * sin * wide, sign(1) * cos * tall]
    shift = [torch.round(spread(3) * k["shift"] * 100), torch.round(spread(4) * k["shift"] * 75)]
    gains = [torch.exp(spread(n) * k["gain"]) for n in (10, 11, 12)]
    more, turn = torch.exp(spread(14) * k["saturation"]), spread(15) * k["hue"]
    c, s = more * torch.cos(turn), more * torch.sin(turn)
    tinted = k["saturation"] + k["hue"] > 0
    colours = []
    for row, (i, q) in enumerate(((0.956, 0.621), (-0.272, -0.647), (-1.106, 1.703))):
        # The brightness stays; the two differences of colour are turned and stretched.
        of_i, of_q = i * c + q * s, q * c - i * s
        parts = ((0.299, 0.596, 0.211), (0.587, -0.274, -0.523), (0.114, -0.322, 0.312))
        for column, (y, to_i, to_q) in enumerate(parts):
            value = y + of_i * to_i + of_q * to_q
            colours.append(torch.where(tinted, value, float(row == column)))
    contrast, light = 1 + spread(6) * k["contrast"], spread(5) * k["brightness"] * 255
    half = torch.where(u[:, 18] < 0.5, k["cutout"] / 2, 0.0)
    found = [*matrix, *shift, plain.float(), *gains, torch.exp(spread(13) * k["gamma"])]
    found += [*colours, contrast, light, u[:, 16], u[:, 17], half * one, one]
    return torch.stack(found, 1)


def augmented(recipe: Recipe, pixels: Any, rows: Any, changed: Any) -> Any:
    """Training images of `rows` (int32) by their `changes`: (n, h, w, 3) float32, 0–255.

    Places are in pixels of the 75x100 image from its middle, whatever is sampled.
    """
    import torch

    p = [part[:, None, None] for part in changed.unbind(1)]

    def places(height: int, width: int, off_x: float, off_y: float) -> tuple[Any, Any]:
        zoom = 75 / height
        x = (torch.arange(width, device=changed.device) - (width - 1) / 2) * zoom + off_x
        y = (torch.arange(height, device=changed.device) - (height - 1) / 2) * zoom + off_y
        x, y = x[None, None, :], y[None, :, None]
        return p[0] * x + p[1] * y - p[4], p[2] * x + p[3] * y - p[5]

    def small(cubic: bool) -> Any:
        x, y = places(75, 100, 0.0, 0.0)
        x, y = x + 49.5, y + 37.0
        x = torch.where(p[6] > 0, torch.floor(x + 1e-3), x)
        y = torch.where(p[6] > 0, torch.floor(y + 1e-3), y)
        return sampled(pixels, rows, x, y, cubic)

    def large(height: int, off_x: float, off_y: float) -> Any:
        x, y = places(height, height * 4 // 3, off_x, off_y)
        return sampled(pixels, rows, 2 * x + 99.5, 2 * y + 74.5, cubic=False)

    if recipe.height == 150:
        images = large(150, 0.0, 0.0)
    elif recipe.sampler == "large":
        quarters = [large(75, dx, dy) for dx in (-0.25, 0.25) for dy in (-0.25, 0.25)]
        images = (quarters[0] + quarters[1] + quarters[2] + quarters[3]) / 4
    else:
        images = small(recipe.sampler == "cubic")
    return images


def recoloured(images: Any, changed: Any) -> Any:
    """The changes of colour and light; the square that is cut out becomes grey."""
    import torch

    p = [part[:, None, None, None] for part in changed.unbind(1)]
    planes = [(images[..., n : n + 1] * p[7 + n]).clamp(0, 255) for n in range(3)]
    planes = [255 * (plane / 255 + 1e-6) ** p[10] for plane in planes]
    rows = [sum(planes[n] * p[11 + 3 * row + n] for n in range(3)) for row in range(3)]
    images = torch.cat(rows, 3)  # type: ignore[arg-type]
    mean = images.mean((1, 2), keepdim=True)
    images = ((images - mean) * p[20] + mean + p[21]).clamp(0, 255)
    height, width = images.shape[1:3]
    x = torch.arange(width, device=changed.device)[None, None, :, None] - p[22] * width
    y = torch.arange(height, device=changed.device)[None, :, None, None] - p[23] * height
    gone = (x.abs() < p[24] * height) & (y.abs() < p[24] * height)
    return torch.where(gone, 127.5, images)


class Steps:
    """The functions of a variant, compiled once and shared by its trainings."""

    def __init__(self, recipe: Recipe, teacher: Recipe | None, compiled: bool) -> None:
        import torch

        self.recipe, self.teacher, self.asked = recipe, teacher, teacher or recipe
        # What is looked at: a teacher with a larger input sees the same view as its pupil.
        self.view = replace(recipe, height=self.asked.height)
        self.weights = weights_of(recipe)
        self.size = sum(weight.size for weight in self.weights)
        make: Callable[[Any], Any] = (
            (lambda f: torch.compile(f, dynamic=False, fullgraph=True))
            if compiled
            else (lambda f: f)
        )
        self.prepare, self.objective = make(self._prepare), make(self._objective)
        self.update, self.taught = make(self._update), make(self._taught)
        self.draw = make(self._draw)

    def _draw(self, order: Any, step: Any, knobs: Any, lam: Any) -> Any:
        """Of one step: rows, `changes`, shares of the mixtures and the mask of dropout."""
        import torch

        n = self.recipe.batch
        k = dict(zip(KNOBS, knobs.unbind(), strict=True))
        rows = order[step * n + torch.arange(n, device=step.device)]
        u = uniform(n * DRAWS, step, k["seed"], step.device).view(n, DRAWS)
        share = lam[(u[:, 19] * len(lam)).long()]
        features = 1024 if self.recipe.network == "paper" else self.recipe.width * 8
        masked = uniform(n * features, step + 2**20, k["seed"], step.device).view(n, features)
        kept = (masked >= k["dropout"]).float() / (1 - k["dropout"])
        return rows, changes(u, k), share, kept

    def _prepare(
        self, pixels: Any, labels: Any, rows: Any, changed: Any, share: Any, knobs: Any
    ) -> Any:
        """One batch: images and what is to be learned of them (n, 7)."""
        import torch.nn.functional as f

        k = dict(zip(KNOBS, knobs.unbind(), strict=True))
        images = recoloured(augmented(self.view, pixels, rows, changed), changed)
        truth = f.one_hot(labels[rows], len(CODES)).float()
        truth = truth * (1 - k["smoothing"]) + k["smoothing"] / len(CODES)
        other = 1 - share
        images = images * share[:, None, None, None] + images.flip(0) * other[:, None, None, None]
        return images, truth * share[:, None] + truth.flip(0) * other[:, None]

    def _taught(self, arrays: Any, images: Any) -> Any:
        """The teachers' mean answer (n, 7): `arrays`, one list for each."""
        import torch

        answers = [torch.softmax(logits_of(self.asked, a, images)[0], 1) for a in arrays]
        return sum(answers) / len(answers)

    def _objective(
        self, arrays: Any, images: Any, truth: Any, told: Any, kept: Any, knobs: Any, prior: Any
    ) -> Any:
        import torch
        import torch.nn.functional as f

        k = dict(zip(KNOBS, knobs.unbind(), strict=True))
        if images.shape[1] != self.recipe.height:
            images = f.avg_pool2d(images.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        logits, stats = logits_of(self.recipe, arrays, images, kept)
        logs = torch.log_softmax(logits + prior, 1)
        if told is not None:
            told = torch.softmax(torch.log(told + 1e-8) + prior, 1)
            truth = k["hard"] * truth + (1 - k["hard"]) * told
        return -(truth * logs).sum(1).mean(), stats

    def _update(
        self,
        flat: Any,
        m: Any,
        v: Any,
        ema: Any,
        g: Any,
        mask: Any,
        rates: Any,
        step: Any,
        knobs: Any,
    ) -> Any:
        """Keras's AdamW, and the moving average."""
        import torch

        k = dict(zip(KNOBS, knobs.unbind(), strict=True))
        t = (step + 1).float()
        rate = rates.index_select(0, step.view(1))
        m.copy_(0.9 * m + 0.1 * g)
        v.copy_(0.999 * v + 0.001 * g * g)
        alpha = rate * torch.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        flat.copy_(flat * (1 - rate * k["decay"] * mask) - alpha * m / (torch.sqrt(v) + 1e-7))
        share = torch.minimum(k["ema"], (1 + t) / (10 + t))
        ema.copy_(ema + (1 - share) * (flat - ema))
        step.add_(1)


class Slot:
    """A training's place on the GPU, its step recorded once: trainings of a variant take turns."""

    def __init__(self, steps: Steps, images: "Images", longest: int, teachers: int) -> None:
        import torch

        device = images.device
        self.steps, self.images, self.teachers = steps, images, teachers
        self.stream = torch.cuda.Stream() if device == "cuda" else None
        zeros = lambda *shape: torch.zeros(*shape, device=device)  # noqa: E731
        self.flat, self.m, self.v, self.ema, self.mask = (zeros(steps.size) for _ in range(5))
        for place, weight in zip(views_of(self.mask, steps.weights), steps.weights, strict=True):
            place.fill_(float(weight.decays))
        self.order = torch.zeros(longest, dtype=torch.int32, device=device)
        self.rates, self.lam = zeros(longest // steps.recipe.batch + 2), zeros(1024)
        self.prior, self.knobs = zeros(len(CODES)), zeros(len(KNOBS))
        self.step = torch.zeros((), dtype=torch.long, device=device)
        self.loss: Any = None
        self.arrays = [a.detach().requires_grad_() for a in views_of(self.flat, steps.weights)]
        told = sum(weight.size for weight in weights_of(steps.asked))
        self.told = [zeros(told) for _ in range(teachers)]
        # Mean and variance of each batch norm; a new training soon forgets the last one's.
        widths = [weight.size for weight in steps.weights if weight.constant == 1.0]
        parts = [part for c in widths for part in (zeros(c), zeros(c) + 1)]
        self.stats = torch.cat(parts) if steps.recipe.norm == "batch" else None
        self.graph: Any = None
        self.total = self.done = 0
        self.run: Any = None

    def load(self, run: "Run", table: Table, told: Sequence[Any]) -> None:
        """Begin a training: everything that the recorded step reads is written anew."""
        import torch

        recipe, steps = run.recipe, self.steps
        rows = table.trained_on(run.group)
        rows = rows[rows < self.images.count]
        counts = np.maximum(np.bincount(table.labels[rows], minlength=len(CODES)), 1)
        random = np.random.default_rng([run.seed, sum(map(ord, run.group))])
        each = len(rows) // recipe.batch
        self.total, self.done = each * recipe.epochs, 0
        if run.steps:
            self.total = min(self.total, run.steps)
        chance = (counts[table.labels[rows]] / len(rows)) ** -recipe.sampling
        chance /= chance.sum()
        size = each * recipe.batch
        epochs = [
            random.choice(rows, size, p=chance)
            if recipe.sampling
            else random.permutation(rows)[:size]
            for _ in range(recipe.epochs)
        ]
        order = np.concatenate(epochs).astype(np.int32)
        warm, total = each * recipe.warmup, each * recipe.epochs
        at = np.arange(total)
        cosine = 0.5 * (1 + np.cos(np.pi * np.clip((at - warm) / max(total - warm, 1), 0, 1)))
        rates = recipe.rate * np.where(at < warm, at / max(warm, 1), cosine)
        lam = random.beta(recipe.mixup, recipe.mixup, 1024) if recipe.mixup else np.ones(1024)
        device = self.images.device
        put = lambda to, values: to[: len(values)].copy_(  # noqa: E731
            torch.as_tensor(values, device=device)
        )
        with torch.no_grad():
            put(self.order, order)
            put(self.rates, rates.astype(np.float32))
            put(self.lam, lam.astype(np.float32))
            put(self.prior, (recipe.tau * np.log(counts / counts.sum())).astype(np.float32))
            put(
                self.knobs,
                np.array(
                    knobs_of(recipe, run.seed * 100 + len(run.group) + ord(run.group[-1])),
                    np.float32,
                ),
            )
            start = [run.seed, sum(map(ord, run.group)), 1]
            put(self.flat, initial(steps.weights, start))  # type: ignore[arg-type]
            self.ema.copy_(self.flat)
            for zeroed in (self.m, self.v, self.step):
                zeroed.zero_()
            for to, flat in zip(self.told, told, strict=True):
                to.copy_(flat)
        self.run = run

    def take_step(self) -> None:
        import torch

        steps, data = self.steps, self.images
        pixels = (
            data.big
            if steps.recipe.sampler == "large" or steps.recipe.height == 150
            else data.small
        )
        with torch.no_grad():
            rows, changed, share, kept = steps.draw(self.order, self.step, self.knobs, self.lam)
            batch, truth = steps.prepare(pixels, data.labels, rows, changed, share, self.knobs)
            told = None
            if self.told:
                arrays = [views_of(t, weights_of(steps.asked)) for t in self.told]
                told = steps.taught(arrays, batch)
        self.loss, stats = steps.objective(
            self.arrays, batch, truth, told, kept, self.knobs, self.prior
        )
        gradients = torch.autograd.grad(self.loss, self.arrays)
        with torch.no_grad():
            if self.stats is not None:
                self.stats.lerp_(stats, 0.01)
            g = flat_of(gradients)
            steps.update(
                self.flat, self.m, self.v, self.ema, g, self.mask, self.rates, self.step, self.knobs
            )

    def record(self) -> None:
        """The first steps, taken one by one; then the step as a graph."""
        import torch

        if self.stream is None:
            return
        torch.cuda.synchronize()
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self.take_step()
        torch.cuda.synchronize()
        self.done = 3
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.take_step()

    def advance(self, count: int) -> None:
        """Steps without waiting for them."""
        import torch

        if self.stream is None:
            for _ in range(count):
                self.take_step()
        else:
            with torch.cuda.stream(self.stream):
                for _ in range(count):
                    self.graph.replay()
        self.done += count


class Images:
    """All images on the device."""

    def __init__(self, big: np.ndarray, small: np.ndarray, labels: np.ndarray, device: str) -> None:
        import torch

        self.device, self.count = device, len(big)
        self.big, self.small = (torch.as_tensor(a).to(device) for a in (big, small))
        self.labels = torch.as_tensor(labels[: len(big)]).to(device)

    def plain(self, recipe: Recipe, rows: Any) -> Any:
        """Images as they are tested."""
        import torch.nn.functional as f

        if recipe.height == 150:
            return self.big[rows].float()
        if recipe.sampler == "large":
            big = self.big[rows].float().permute(0, 3, 1, 2)
            return f.avg_pool2d(big, 2).permute(0, 2, 3, 1)
        return self.small[rows].float()


def answers(slot: Slot, rows: np.ndarray) -> np.ndarray:
    """(n, VIEWS, 7) float16 probabilities of the rows that were held out."""
    import torch

    recipe, weights = slot.run.recipe, slot.steps.weights
    found = []
    for start in range(0, len(rows), 512):
        part = torch.as_tensor(rows[start : start + 512], device=slot.images.device)
        images = slot.images.plain(recipe, part)

        def ask(flat: Any, views: Sequence[Any]) -> Any:
            arrays = views_of(flat, weights)
            return [
                torch.softmax(logits_of(recipe, arrays, v, stats=slot.stats)[0], 1) for v in views
            ]

        with torch.no_grad():
            mirrored = [images, images.flip(1), images.flip(2), images.flip(1, 2)]
            turned = [quarter_turned(image) for image in mirrored]
            raw, averaged = ask(slot.flat, [*mirrored, *turned]), ask(slot.ema, mirrored)
            mean = lambda parts: torch.stack(parts).mean(0)  # noqa: E731
            views = [raw[0], mean(raw[:4]), mean(raw), averaged[0], mean(averaged)]
            found.append(torch.stack(views, 1).half().cpu().numpy())
    return np.concatenate(found)


def quarter_turned(images: Any) -> Any:
    """As the augmentation turns: the scale stays, the short side is continued by its mirror."""
    import torch

    _, height, width, _ = images.shape
    off = (width - height) // 2
    x = reflected(torch.arange(width, device=images.device) - off, height)
    y = torch.arange(height, device=images.device) + off
    return images.transpose(1, 2)[:, y][:, :, x]


# ------------------------------------------------------------------------------------ many at once


@dataclass(frozen=True)
class Run:
    """One training."""

    name: str
    recipe: Recipe
    seed: int
    group: str
    steps: int = 0  # less than all, for a rehearsal


class Log:
    """OUT/runs.jsonl, a line a training, and OUT/answers-N.bin, which it points into."""

    def __init__(self, folder: str) -> None:
        self.folder, self.number = Path(folder), 0
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, Any], found: np.ndarray) -> None:
        path = self.folder / f"answers-{self.number}.bin"
        if path.exists() and path.stat().st_size + found.nbytes > FILE_BYTES:
            self.number += 1
            path = self.folder / f"answers-{self.number}.bin"
        offset = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            file.write(found.tobytes())
        row |= {"file": path.name, "offset": offset, "images": len(found)}
        with (self.folder / "runs.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


class Trainings:
    """Trainings side by side, as many as there are slots, until the queue or the time is at end."""

    def __init__(
        self, images: Images, table: Table, log: Log, arguments: argparse.Namespace
    ) -> None:
        self.images, self.table, self.log = images, table, log
        self.compiled = images.device == "cuda" and not arguments.eager
        self.deadline = arguments.deadline
        self.side_by_side = arguments.slots
        self.variants: dict[Any, Steps] = {}
        self.free: dict[Any, list[Slot]] = defaultdict(list)
        self.flats: dict[tuple[str, str], list[Any]] = defaultdict(list)  # of teachers
        self.taught_by = {recipe.teacher for recipe in RECIPES.values() if recipe.teacher}
        self.teachers, self.epochs = arguments.teachers, 0

    def slot_for(self, run: Run) -> Slot:
        variant = run.recipe.variant
        told = self.flats[run.recipe.teacher, run.group][: self.teachers]
        fresh = not self.free[variant]
        if fresh:
            if variant not in self.variants:
                teacher = RECIPES[run.recipe.teacher] if run.recipe.teacher else None
                self.variants[variant] = Steps(run.recipe, teacher, self.compiled)
            longest = self.epochs * len(self.table.labels)
            slot = Slot(self.variants[variant], self.images, longest, len(told))
        else:
            slot = self.free[variant].pop()
            if slot.stream:
                slot.stream.synchronize()
        slot.load(run, self.table, told)
        if fresh:
            began = time.monotonic()
            slot.record()
            took = time.monotonic() - began
            if took > 2:
                print(
                    f"  {run.name}: {slot.steps.size:,} parameters, compiled {took:.1f} s",
                    flush=True,
                )
        return slot

    def ready(self, run: Run, waiting: Sequence[Run], active: Sequence[Slot]) -> bool:
        """Whether the teachers of a run are trained."""
        name = run.recipe.teacher
        busy = [*waiting, *(slot.run for slot in active)]
        return not name or not any(r.name == name and r.group == run.group for r in busy)

    def train(self, queue: Sequence[Run], chunk: int) -> None:
        import torch

        waiting, active = list(queue), list[Slot]()
        self.epochs = max(run.recipe.epochs for run in queue)
        began, images, busy, speed = time.monotonic(), 0, 0.0, 0.0  # seconds a step of all
        last = None
        told = began
        while waiting or active:
            left = self.deadline - time.monotonic()
            for run in list(waiting):
                if len(active) >= self.side_by_side:
                    break
                if not self.ready(run, waiting, active):
                    continue
                rows = len(self.table.trained_on(run.group))
                need = (run.steps or rows // run.recipe.batch * run.recipe.epochs) * speed
                waiting.remove(run)
                if need > left:
                    print(f"  no time for {run.name}:{run.seed} {run.group}", flush=True)
                    continue
                active.append(self.slot_for(run))
            started = time.monotonic()
            for slot in active:
                slot.advance(min(chunk, slot.total - slot.done))
                images += chunk * slot.steps.recipe.batch
            if self.images.device == "cuda":
                event = [torch.cuda.Event() for _ in active]
                for mark, slot in zip(event, active, strict=True):
                    mark.record(slot.stream)
                for mark in last or []:
                    mark.synchronize()
                last = event
            took = (time.monotonic() - started) / chunk
            busy += took * chunk
            speed = 0.9 * speed + 0.1 * took if speed else took
            if time.monotonic() - told > 20:
                told = time.monotonic()
                print(
                    f"  {told - began:.0f} s: {images / (told - began):,.0f} images/s, "
                    f"{len(active)} at once, {len(waiting)} waiting",
                    flush=True,
                )
            for slot in [slot for slot in active if slot.done >= slot.total]:
                active.remove(slot)
                self.finish(slot)
            if time.monotonic() > self.deadline + 20:
                print("  out of time:", [f"{s.run.name} {s.run.group}" for s in active], flush=True)
                break
        took = time.monotonic() - began
        print(
            f"  {images:,} images, {images / took:,.0f}/s, {images / busy:,.0f}/s of training",
            flush=True,
        )

    def finish(self, slot: Slot) -> None:
        if slot.stream:
            slot.stream.synchronize()
        run, recipe = slot.run, slot.run.recipe
        rows = self.table.held_out(run.group)
        rows = rows[rows < self.images.count]
        found = answers(slot, rows)
        loss = float(slot.loss.detach())
        row = {"recipe": run.name, "seed": run.seed, "group": run.group, "loss": round(loss, 4)}
        changed = {k: v for k, v in asdict(recipe).items() if v != getattr(BASE, k)}
        self.log.add(row | {"changed": changed}, found)
        if run.name in self.taught_by:
            self.flats[run.name, run.group].append(slot.flat.clone())
        self.free[recipe.variant].append(slot)
        right = found[:, 1].argmax(1) == self.table.labels[rows]
        print(
            f"{run.name}:{run.seed} {run.group} loss {loss:.3f} top-1 {right.mean():.3f}",
            flush=True,
        )


def fastest_channels() -> int:
    """How many channels, most of them zeros, the first layer is computed fastest with."""
    import torch
    import torch.nn.functional as f

    took = {}
    for channels in (3, 4, 8):
        x = torch.randn(32, channels, 75, 100, device="cuda", dtype=torch.bfloat16)
        x = x.contiguous(memory_format=torch.channels_last)
        w = torch.randn(64, channels, 3, 3, device="cuda", dtype=torch.bfloat16)
        w = w.contiguous(memory_format=torch.channels_last).requires_grad_()
        for repeat in range(60):
            if repeat == 10:
                torch.cuda.synchronize()
                began = time.monotonic()
            y = f.conv2d(x, w)
            torch.autograd.grad(y, w, y.detach())
        torch.cuda.synchronize()
        took[channels] = (time.monotonic() - began) / 50
    print({n: f"{1e6 * t:.0f} us" for n, t in took.items()}, flush=True)
    return min(took, key=took.__getitem__)


def recipe_of(name: str) -> Recipe:
    """`base`, or with other settings: `base@epochs=80,tone="shades"`."""
    known, _, changes = name.partition("@")
    pairs = (change.split("=") for change in changes.split(",") if change)
    return replace(RECIPES[known], **{key: json.loads(value) for key, value in pairs})


def groups_of(word: str) -> list[str]:
    if word == "home":
        return ["home"]
    of_folds, of_sources = [f"fold{n}" for n in range(FOLDS)], list(SOURCES)
    return {"": of_folds + of_sources, "folds": of_folds, "sources": of_sources}[word]


def train(arguments: argparse.Namespace) -> None:
    """Units NAME:SEED or NAME:SEED:folds, :sources or :home, the first before the others."""
    arguments.deadline = time.monotonic() + arguments.seconds
    table = Table.read(arguments.data)
    big, small = read_images(arguments.data, table, arguments.limit)
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    global CHANNELS
    CHANNELS = arguments.channels or fastest_channels()
    print(len(big), "images read;", torch.__version__, device, flush=True)
    if device == "cuda":
        print(torch.cuda.get_device_name(), flush=True)
    trainings = Trainings(
        Images(big, small, table.labels, device), table, Log(arguments.out), arguments
    )
    queue = []
    for unit in arguments.units:
        name, seed, groups = (*unit.split(":"), "")[:3]
        recipe = recipe_of(name)
        queue += [Run(name, recipe, int(seed), g, arguments.steps) for g in groups_of(groups)]
    trainings.train(queue, arguments.chunk)
    if device == "cuda":
        print(f"  peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB", flush=True)


# ---------------------------------------------------------------------------------------- the table


def read_answers(folders: Sequence[str]) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """(recipe, seed) → group → (n, VIEWS, 7), from all OUT folders."""
    found: dict[tuple[str, int], dict[str, np.ndarray]] = defaultdict(dict)
    for folder in folders:
        for line in (Path(folder) / "runs.jsonl").read_text().splitlines():
            row = json.loads(line)
            size = row["images"] * len(VIEWS) * len(CODES) * 2
            with (Path(folder) / row["file"]).open("rb") as file:
                file.seek(row["offset"])
                flat = np.frombuffer(file.read(size), np.float16)
            answers = flat.reshape(-1, len(VIEWS), len(CODES)).astype(np.float64)
            found[row["recipe"], row["seed"]][row["group"]] = answers
    return found


def shifted(answers: np.ndarray, prior: np.ndarray, tau: float) -> np.ndarray:
    """A prior shift after training: positive tau leans to rare classes."""
    moved = np.maximum(answers, 1e-6) * prior**-tau
    return moved / moved.sum(-1, keepdims=True)


@dataclass(frozen=True)
class Figures:
    """Of one set of answers, for images drawn `weights` (rounds, n) times each."""

    loss: np.ndarray
    top: np.ndarray
    balanced: np.ndarray


def figures(labels: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> Figures:
    truth = np.maximum(answers[np.arange(len(labels)), labels], 1e-4)
    right = (answers.argmax(1) == labels).astype(float)
    total = weights.sum(1)
    recalls = []
    for label in range(len(CODES)):
        of = labels == label
        if of.sum() >= LEAST:
            with np.errstate(invalid="ignore"):
                recalls.append(weights[:, of] @ right[of] / weights[:, of].sum(1))
    return Figures(
        weights @ -np.log(truth) / total, weights @ right / total, np.nanmean(recalls, axis=0)
    )


def drawn(lesions: np.ndarray, rounds: int) -> np.ndarray:
    """(1 + rounds, n) weights: all images once, then lesions drawn with replacement."""
    random = np.random.default_rng(2020)
    _, place = np.unique(lesions, return_inverse=True)
    count = int(place.max()) + 1
    found: list[Any] = [np.ones(len(place))]
    for _ in range(rounds):
        found.append(np.bincount(random.integers(0, count, count), minlength=count)[place])
    return np.array(found, float)


def tabulate(arguments: argparse.Namespace) -> None:
    """Recipes beside each other, and each against a base: paired differences, lesions drawn."""
    table = Table.read(arguments.data)
    units = read_answers(arguments.out)
    view = VIEWS.index(arguments.view)
    prior = np.bincount(table.labels, minlength=len(CODES)) / len(table.labels)
    settings = {"folds": [f"fold{n}" for n in range(FOLDS)], "sources": list(SOURCES)}
    settings |= {source: [source] for source in SOURCES}
    settings |= {"home": ["home"]}
    only = arguments.seeds
    for title, groups in settings.items():
        rows = np.concatenate([table.held_out(group) for group in groups])
        labels, weights = table.labels[rows], drawn(table.lesions[rows], arguments.rounds)
        each: dict[str, list[Figures]] = defaultdict(list)
        for (name, seed), unit in sorted(units.items()):
            if all(group in unit for group in groups) and (not only or seed in only):
                found = np.concatenate([unit[group] for group in groups])[:, view]
                each[name].append(figures(labels, shifted(found, prior, arguments.tau), weights))
        print(f"\n{title}: {len(rows)} images, {arguments.view}, tau {arguments.tau:+}")
        base = each.get(arguments.base)
        for name, seeds in each.items():
            line = f"{name:22s} {len(seeds)}"
            for key in ("loss", "top", "balanced"):
                mean = np.mean([getattr(f, key) for f in seeds], axis=0)
                line += f"  {key} {mean[0]:.3f}"
                if base and arguments.rounds and name != arguments.base:
                    against = mean - np.mean([getattr(f, key) for f in base], axis=0)
                    low, high = np.percentile(against[1:], (2.5, 97.5))
                    line += f" {against[0]:+.3f} ({low:+.3f} {high:+.3f})"
            print(line)


def record(arguments: argparse.Namespace) -> None:
    """Figures of every training, and of whole units, as JSON lines: bench/rank.jsonl."""
    table, lines = Table.read(arguments.data), []
    for folder in arguments.out:
        for line in (Path(folder) / "runs.jsonl").read_text().splitlines():
            row = json.loads(line)
            unit = read_answers([folder])[row["recipe"], row["seed"]]
            kept = {key: row[key] for key in ("recipe", "changed", "seed", "group")}
            lines.append(kept | logged(table, unit, [row["group"]]))
    for (name, seed), unit in read_answers(arguments.out).items():
        for title, groups in (("folds", [f"fold{n}" for n in range(FOLDS)]), ("sources", SOURCES)):
            if all(group in unit for group in groups):
                row = {"recipe": name, "seed": seed, "group": title}
                lines.append(row | logged(table, unit, groups))
    with open(arguments.to, "w") as file:
        for row in lines:
            file.write(json.dumps(row | {"hardware": arguments.hardware}) + "\n")


def logged(table: Table, unit: dict[str, np.ndarray], groups: Sequence[str]) -> dict[str, Any]:
    rows = np.concatenate([table.held_out(group) for group in groups])
    found = np.concatenate([unit[group] for group in groups])
    row: dict[str, Any] = {"images": len(rows)}
    for place, view in enumerate(VIEWS):
        got = figures(table.labels[rows], found[:, place], np.ones((1, len(rows))))
        row[view] = {
            "accuracy": round(float(got.top[0]), 4),
            "balanced_accuracy": round(float(got.balanced[0]), 4),
            "categorical_crossentropy": round(float(got.loss[0]), 4),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    exporting = commands.add_parser("export", help=export.__doc__)
    exporting.add_argument("--dataset", required=True)
    exporting.add_argument("--archives", nargs="+", required=True)
    exporting.add_argument("--metadata", required=True)
    exporting.add_argument("--to", required=True)
    exporting.set_defaults(run=export)
    training = commands.add_parser("train", help=train.__doc__)
    training.add_argument("units", nargs="+", help="NAME:SEED[:folds|sources|home]")
    training.add_argument("--data", required=True)
    training.add_argument("--out", required=True)
    training.add_argument("--seconds", type=float, default=540)
    training.add_argument("--slots", type=int, default=24, help="trainings side by side")
    training.add_argument("--chunk", type=int, default=50, help="steps between looks at the clock")
    training.add_argument("--teachers", type=int, default=1)
    training.add_argument("--limit", type=int, help="only the first images, for a rehearsal")
    training.add_argument("--steps", type=int, default=0, help="of each training, likewise")
    training.add_argument("--channels", type=int, default=8, help="0: measures which is fastest")
    training.add_argument("--eager", action="store_true", help="without torch.compile")
    training.set_defaults(run=train)
    table = commands.add_parser("table", help=tabulate.__doc__)
    table.add_argument("--data", required=True)
    table.add_argument("--out", nargs="+", required=True)
    table.add_argument("--base", default="base")
    table.add_argument("--view", choices=VIEWS, default="flips")
    table.add_argument("--tau", type=float, default=0.0, help="a prior shift after training")
    table.add_argument("--seeds", type=int, nargs="*", help="these alone")
    table.add_argument("--rounds", type=int, default=500)
    table.set_defaults(run=tabulate)
    recording = commands.add_parser("record", help=record.__doc__)
    recording.add_argument("--data", required=True)
    recording.add_argument("--out", nargs="+", required=True)
    recording.add_argument("--to", default="bench/rank.jsonl")
    recording.add_argument("--hardware", required=True)
    recording.set_defaults(run=record)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
