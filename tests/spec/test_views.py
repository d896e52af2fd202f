"""Views of an image for test-time augmentation."""

import numpy as np
import pytest

from skinclf.spec.views import views_of


@pytest.mark.parametrize(("height", "width"), [(75, 100), (100, 75), (6, 6), (3, 20)])
def test_views_keep_the_shape(height: int, width: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), np.uint8)
    views = views_of(pixels, "symmetries")
    assert [view.shape for view in views] == [pixels.shape] * 8
    assert len({view.tobytes() for view in views}) == 8
    assert views_of(pixels, "none") == [pixels]
    mirrored = [pixels, pixels[:, ::-1], pixels[:, :, ::-1], pixels[:, ::-1, ::-1]]
    assert np.array_equal(views_of(pixels, "flips"), mirrored)
    assert np.array_equal(views[:4], mirrored)


def test_the_views_of_a_square_are_its_eight_symmetries() -> None:
    square = np.random.default_rng(1).integers(0, 256, (1, 5, 5, 3), np.uint8)
    turns = [np.rot90(square, n, axes=(1, 2)) for n in range(4)]
    expected = {each.tobytes() for turn in turns for each in (turn, turn[:, ::-1])}
    assert {view.tobytes() for view in views_of(square, "symmetries")} == expected


def test_a_turned_view_shows_the_middle_and_continues_it_by_its_mirror_image() -> None:
    pixels = np.arange(2 * 6 * 3, dtype=np.uint8).reshape(1, 2, 6, 3)
    turned = views_of(pixels, "symmetries")[4]
    middle = pixels[0, :, 2:4].swapaxes(0, 1)
    assert np.array_equal(turned[0, :, 2:4], middle)
    assert np.array_equal(turned[0, :, 1::-1], middle)
    assert np.array_equal(turned[0, :, :3:-1], middle)
