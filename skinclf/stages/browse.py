"""A model's scores → one page of pictures, to look through what the model is unsure of."""

import logging
from functools import partial

from skinclf.archives.thumbnails import thumbnails
from skinclf.config.schema import ArchiveConfig
from skinclf.reporting.browsing import write_gallery
from skinclf.reporting.pages import check_page
from skinclf.reporting.score_sample import ScoreSample, sample_rejects, sample_scores
from skinclf.storage.files import absolute
from skinclf.storage.score_folder import ScoreFolder
from skinclf.storage.score_view import (
    check_scores,
    rows_of_listing,
    scan_rejects,
    scan_scores,
)

log = logging.getLogger(__name__)


def browse(path: str, limits: ArchiveConfig, limit: int, output: str) -> ScoreSample:
    """Write a page of at most `limit` images of a model's folder (scores/MODEL) to `output`.

    Images are read from where they were scored, within `limits`; one that can't be read any more
    has a placeholder. Needs no Spark and no TensorFlow, and memory that grows with `limit` alone.
    Raises UsageError where there are no scores.
    """
    check_page(output)
    folder = ScoreFolder(absolute(path))
    folder.check()
    check_scores(folder)
    scores = scan_scores(folder.path, partial(sample_scores, limit=limit))
    rejects = scan_rejects(folder.path, sample_rejects)
    entries = rows_of_listing(folder.path, [image.source for image in scores.images])
    pictures = dict(thumbnails(entries, limits))
    write_gallery(scores, rejects, pictures, folder.path, output)
    log.info(
        "%s of %s images and %s of %s rejects are on the page",
        *(f"{len(scores.images):,}", f"{scores.total:,}"),
        *(f"{len(rejects.rows):,}", f"{rejects.total:,}"),
    )
    return scores
