"""A model's scores → one self-contained page of pictures."""

from collections.abc import Mapping
from typing import NamedTuple

from skinclf import __version__
from skinclf.archives.thumbnails import Thumbnail
from skinclf.reporting.pages import render
from skinclf.reporting.score_sample import RejectSample, ScoredImage, ScoreSample
from skinclf.spec.rejects import REASONS
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.files import write_text

TOP = 2
"""How many classes stand below a picture."""

NOT_LISTED = Thumbnail(None, "vanished", "the listing in this folder does not name it")


class Card(NamedTuple):
    """What the page shows of one image."""

    image: ScoredImage
    thumbnail: Thumbnail
    top: list[tuple[str, float]]  # the predicted class, then the most probable others


def write_gallery(
    scores: ScoreSample,
    rejects: RejectSample,
    pictures: Mapping[str, Thumbnail],
    folder: str,
    path: str,
) -> None:
    """Write the page of the scores in `folder`. `pictures`: by source."""
    cards = [
        Card(image, pictures.get(image.source, NOT_LISTED), _top(image, scores))
        for image in scores.images
    ]
    page = render(
        "browse.html.j2",
        {
            "title": "Scores",
            "version": __version__,
            "folder": folder,
            "scores": scores,
            "cards": cards,
            "missing": sum(card.thumbnail.jpeg is None for card in cards),
            # Names of other classes are with the model, and not with its scores.
            "class_name": HAM10000.name_of if tuple(scores.codes) == HAM10000.codes else str,
            "rejects": rejects,
            "meanings": REASONS,
        },
    )
    write_text(path, page)


def _top(image: ScoredImage, scores: ScoreSample) -> list[tuple[str, float]]:
    by_class = zip(scores.codes, image.probabilities, strict=True)
    return sorted(by_class, key=lambda pair: (pair[0] != image.predicted, -pair[1]))[:TOP]
