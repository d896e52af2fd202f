import numpy as np
import pytest

from skinclf.evaluation.comparison import count_shared, paired_differences, same_images
from skinclf.evaluation.predictions import Predictions
from skinclf.spec.taxonomy import HAM10000

NV, MEL = (HAM10000.label_of(code) for code in ("nv", "mel"))


def of_nv(right: int, images: int = 400, first_id: int = 0) -> Predictions:
    """Photographs of as many nevi; the first `right` of them are predicted as such."""
    probabilities = np.zeros((images, 7), np.float32)
    probabilities[:right, NV] = probabilities[right:, MEL] = 1
    names = [f"I{first_id + n:06}" for n in range(images)]
    labels = np.full(images, NV, np.int32)
    return Predictions(labels, probabilities, names, np.arange(images), HAM10000)


def test_the_interval_of_a_difference_is_that_of_the_images_on_which_models_differ() -> None:
    """20 of 400 images differ: 0.05 +- 1.96 sqrt(0.05 * 0.95 / 400). Intervals that know nothing of
    each other would give 0.05 +- 0.06.
    """
    found = paired_differences(of_nv(300), of_nv(320), rounds=2000)
    assert found["accuracy"].value == pytest.approx(0.05)
    assert found["accuracy"].interval == pytest.approx((0.0286, 0.0714), abs=0.003)
    assert found["balanced_accuracy"].interval == found["accuracy"].interval


def test_a_loss_has_a_difference_without_an_interval() -> None:
    """Of 20 of 400 images, the loss falls from -log(1e-7) to 0."""
    found = paired_differences(of_nv(300), of_nv(320), rounds=5)["categorical_crossentropy"]
    assert found.value == pytest.approx(np.log(1e-7) * 20 / 400, rel=1e-3)
    assert found.interval is None


def test_a_model_and_itself_differ_by_nothing_and_draws_tell_no_more() -> None:
    found = paired_differences(of_nv(300), of_nv(300), rounds=20)["accuracy"]
    assert (found.value, found.interval) == (0, (None, None))


def test_of_fewer_than_five_lesions_there_is_no_interval() -> None:
    found = paired_differences(of_nv(1, images=4), of_nv(3, images=4), rounds=20)["accuracy"]
    assert (found.value, found.interval) == (0.5, (None, None))


def test_other_images_are_not_compared() -> None:
    first, other = of_nv(300), of_nv(300, first_id=390)
    assert not same_images(first, other)
    assert count_shared(first, other) == 10
    with pytest.raises(ValueError, match="of the same images"):
        paired_differences(first, other, rounds=5)
