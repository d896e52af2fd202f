"""Color profiles (ICC.1, version 2): of three primaries and a gamma, and of a printer."""

import struct
from itertools import product

Matrix = tuple[tuple[float, float, float], ...]

SRGB: Matrix = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
DISPLAY_P3: Matrix = ((0.5151, 0.2412, -0.0011), (0.292, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB: Matrix = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
"""XYZ of red, green and blue, for D50."""


def srgb_curve() -> list[int]:
    """sRGB's, in 1,024 steps of 16 bits."""
    values = (step / 1023 for step in range(1024))
    linear = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return [round(65535 * v) for v in linear]


def profile(colors: Matrix, curve: list[int]) -> bytes:
    """A profile of a display; `curve`: levels of 16 bits, or one gamma in 1/256."""
    points = b"curv" + bytes(4) + struct.pack(f">I{len(curve)}H", len(curve), *curve)
    tags = {
        **{name: _xyz(c) for name, c in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colors, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), points),
    }
    return _written(b"mntrRGB XYZ ", tags)


def printer_profile() -> bytes:
    """A profile for CMYK: by a table of the Lab colors of all mixtures of full inks."""
    table = b"".join(_lab(*inks) for inks in product((0, 1), repeat=4))
    matrix = struct.pack(">9i", *(65536 * (n % 4 == 0) for n in range(9)))
    straight = bytes(range(256))
    content = (
        b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + 4 * straight + table + 3 * straight
    )
    return _written(b"prtrCMYKLab ", {b"A2B0": content})


def _lab(c: int, m: int, y: int, k: int) -> bytes:
    """The color of full inks: roughly a printer's. L is 0–255, a and b 0–255 with 128 for gray."""
    lightness = 255 * (1 - 0.9 * k) * (1 - 0.4 * c) * (1 - 0.5 * m)
    blue = 0 if y else c + m > 0
    return bytes([round(lightness), 128 + 70 * (m - c) * (1 - k), 128 + 90 * (y - blue) * (1 - k)])


def _written(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of a kind (device, its colors, the colors between) with tags of its own."""
    text, white = b"made for a test\0", _xyz((0.9642, 1.0, 0.8249))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + text,
        b"wtpt": white,
        **tags,
    }
    place, table, data = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, place + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", place + len(data), b"", 0x02400000) + kind
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + white[8:] + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + data


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(65536 * v)) for v in values)
