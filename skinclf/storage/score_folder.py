"""The scores of one model on storage: names.

scores/3f9c2a71d0be/    the model's digest, shortened; another model has a folder of its own
  listing/generation=0000/*.parquet    all that was ever listed, LISTING; one file a micro-batch
  scores/batch=000000/*.parquet        scores_schema
  rejects/batch=000000/*.parquet       REJECTS
  done/batch=000000     an empty file: the micro-batch is done
  scores.csv, isic.csv  the same scores in one file, where score.format asks for it
  summary.json          written last by each job
"""

from dataclasses import dataclass

import pyarrow as pa

from skinclf.errors import UsageError
from skinclf.spec.tables import REJECTS, scores_schema
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from skinclf.storage.files import exists, join


@dataclass(frozen=True)
class ScoreFolder:
    """The names in a model's folder, and the classes of the model."""

    path: str
    taxonomy: Taxonomy = HAM10000

    def check(self) -> None:
        """Raise UsageError if an earlier version wrote it, whose account of what is done and of
        what changed was another.
        """
        if exists(join(self.path, "checkpoint")):
            raise UsageError(
                f"{self.path}: was written by an earlier version of skinclf, which kept its "
                f"account in another form. Name another folder (score.output), or remove this one"
            )

    @property
    def listing(self) -> str:
        """What was listed, by generation."""
        return join(self.path, "listing")

    @property
    def scores(self) -> str:
        """One row an image, by micro-batch."""
        return join(self.path, "scores")

    @property
    def rejects(self) -> str:
        """One row a file that is no image, by micro-batch."""
        return join(self.path, "rejects")

    @property
    def done(self) -> str:
        """An empty file for each micro-batch that is done."""
        return join(self.path, "done")

    @property
    def summary(self) -> str:
        """What the scores hold; there once a job is finished."""
        return join(self.path, "summary.json")

    @property
    def tables(self) -> tuple[tuple[str, pa.Schema], ...]:
        """Scores and rejects: the folder and the schema of each."""
        return (self.scores, scores_schema(self.taxonomy)), (self.rejects, REJECTS)

    @property
    def found(self) -> str:
        """What the archive holds now; only while it is compared with the listing."""
        return join(self.path, "found")
