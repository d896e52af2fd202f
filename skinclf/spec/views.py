"""Test-time augmentation: the views of an image over which predictions are averaged."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # settings are read without NumPy
    import numpy as np
    from numpy.typing import NDArray

Tta = Literal["none", "flips", "symmetries"]

AVERAGED: dict[Tta, str] = {
    "none": "",
    "flips": "four mirror images",
    "symmetries": "four mirror images and their quarter turns",
}
"""What probabilities are means over, in words; "" where they are no means."""


def views_of(pixels: "NDArray[np.uint8]", tta: Tta) -> "list[NDArray[np.uint8]]":
    """Images (n, height, width, 3) → 1, 4 or 8 arrays of that shape, themselves the first."""
    if tta == "none":
        return [pixels]
    mirrored = [pixels, pixels[:, ::-1], pixels[:, :, ::-1], pixels[:, ::-1, ::-1]]
    return mirrored + [_turned(view) for view in mirrored if tta == "symmetries"]


def _turned(pixels: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """Images turned by a quarter and mirrored, as the augmentation turns: they keep their scale and
    shape. What leaves the picture is cut off, and what enters it is its mirror image.
    """
    _, height, width, _ = pixels.shape
    off = (width - height) // 2
    rows = [_mirrored(row + off, width) for row in range(height)]
    columns = [_mirrored(column - off, height) for column in range(width)]
    return pixels.swapaxes(1, 2)[:, rows][:, :, columns]


def _mirrored(place: int, size: int) -> int:
    """A place on a line of mirrors, each `size` wide → the one in the first that it shows."""
    place %= 2 * size
    return place if place < size else 2 * size - 1 - place
