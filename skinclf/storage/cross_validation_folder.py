"""A cross-validation on storage.

OUTPUT/
  datasets/fold-1/         as prepare writes it; or source-rosendahl
  runs/fold-1/             as train and evaluate write it
  predictions/             of all test images, each once, by the model that was not trained on it
  cross-validation.html    the page
  README.md                the same in short
  cross-validation.json    written last: the metrics of all test images, and of each fold
"""

import hashlib
import re
from dataclasses import dataclass

from skinclf.storage.files import exists, join

LONGEST_NAME = 60

CROSS_VALIDATION = "cross-validation.json"


@dataclass(frozen=True)
class CrossValidationFolder:
    """The names in the folder of a cross-validation."""

    path: str

    def dataset(self, name: str) -> str:
        """The dataset of a fold."""
        return join(self.path, "datasets", name)

    def run(self, name: str) -> str:
        """The run of a fold."""
        return join(self.path, "runs", name)

    @property
    def predictions(self) -> str:
        """Parquet files of predictions_schema, one row for each tested image."""
        return join(self.path, "predictions")

    @property
    def page(self) -> str:
        """The page."""
        return join(self.path, "cross-validation.html")

    @property
    def card(self) -> str:
        """The same in short, as Markdown."""
        return join(self.path, "README.md")

    @property
    def metrics(self) -> str:
        """The result as JSON; there once all is finished."""
        return join(self.path, CROSS_VALIDATION)

    @property
    def is_finished(self) -> bool:
        """Whether there is a result."""
        return exists(self.metrics)


def source_folder(source: str) -> str:
    """The name of a source's folders: its own where that is a plain name, else with a digest, so
    that no two sources share one.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", source)[:LONGEST_NAME]
    if plain != source:
        plain += f"-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    return f"source-{plain}"
