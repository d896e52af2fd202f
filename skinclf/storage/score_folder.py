"""The scores of one model on storage: names, and what others may read at what moment.

scores/3f9c2a71d0be/     the model's digest, shortened; another model has a folder of its own
  manifests/00000017.json  the commit: names every file below. What it does not name does not exist
  listing/*.parquet      all that was ever listed, LISTING, in the order in which it is scored
  scores/*.parquet       scores_schema, about 128 MB a file
  rejects/*.parquet      REJECTS
  pending/*.parquet      whole files on their way to scores/ and rejects/; only while a job runs
  scores.csv, isic.csv   the same scores in one file, where score.format asks for it
  found/, export/        what the archive holds now, and parts of scores.csv; only while they are
                         needed
  summary.json           written last by each job

Anybody may read scores/ and rejects/ as plain Parquet at any moment, while a job writes, too:

- A micro-batch appears whole, by one rename (on object storage: one copy), before it is committed.
  So what is committed is there. After a kill between the two it is shown though not committed: the
  next job takes it out and computes it again.
- An input that changed, or a reject that is tried again, keeps its earlier row until all such
  inputs of the job are scored; then the new rows take their place.
- Where files are replaced (sixteen small ones by one of their rows; a file by itself without rows
  that have changed), the new ones are put beside the old ones by renames, and the old ones are
  deleted at once: no storage can do both in one step. In between, a fraction of a millisecond on a
  local disk and some requests' time on object storage, a reader who lists the folder sees these
  rows twice; one who listed it before finds files gone and gets an error. A job that is killed
  just there leaves both until the next one starts.

`score_view.read_scores` reads by the manifest, which changes in one step: it is exact always.
"""

from dataclasses import dataclass
from uuid import uuid4

import pyarrow as pa

from skinclf.errors import UsageError
from skinclf.spec.tables import REJECTS, scores_schema
from skinclf.spec.taxonomy import HAM10000, Taxonomy
from skinclf.storage.files import exists, join, list_names

SCORES, REJECTED = "scores", "rejects"
TABLES = (SCORES, REJECTED)

COUNTED = {SCORES: "predicted", REJECTED: "reason"}
"""The column of each table whose values are counted."""

EARLIER = ("checkpoint", "done", "listing/generation=0000")
"""What the versions before had in a folder, and this one does not."""


SUFFIX = ".parquet"


def new_name() -> str:
    """The name of a file that nobody else writes, another attempt of the same task included."""
    return f"part-{uuid4().hex}{SUFFIX}"


def is_part(name: str) -> bool:
    """Whether a file is called as those of a folder of scores are."""
    return name.startswith("part-") and name.endswith(SUFFIX)


@dataclass(frozen=True)
class ScoreFolder:
    """The names in a model's folder, and the classes of the model."""

    path: str
    taxonomy: Taxonomy = HAM10000

    def check(self) -> None:
        """Raise UsageError if an earlier version wrote it, whose account of what is done and of
        what changed was another, or if its account is lost: all files would be deleted as strays.
        """
        if any(exists(join(self.path, name)) for name in EARLIER):
            raise UsageError(
                f"{self.path}: was written by an earlier version of skinclf, which kept its "
                f"account in another form. Name another folder (score.output), or remove this one"
            )
        if not list_names(self.manifests) and any(
            is_part(name) for table in TABLES for name in list_names(join(self.path, table))
        ):
            raise UsageError(
                f"{self.path}: there are scores or rejects, but nothing in {self.manifests}, which "
                f"says what of them counts. Restore that folder, or name another one (score.output)"
            )

    def schema(self, table: str) -> pa.Schema:
        """The columns of one of TABLES."""
        return scores_schema(self.taxonomy) if table == SCORES else REJECTS

    def public(self, table: str, name: str) -> str:
        """The path of a file of one of TABLES, where others read it."""
        return join(self.path, table, name)

    def staged(self, name: str) -> str:
        """The path of a file that is not public yet."""
        return join(self.pending, name)

    @property
    def manifests(self) -> str:
        """What says what is there, by number: the highest is the one that counts."""
        return join(self.path, "manifests")

    @property
    def listing(self) -> str:
        """What was listed."""
        return join(self.path, "listing")

    @property
    def pending(self) -> str:
        """Files that are to be public."""
        return join(self.path, "pending")

    @property
    def summary(self) -> str:
        """What the scores hold; there once a job is finished."""
        return join(self.path, "summary.json")

    @property
    def found(self) -> str:
        """What the archive holds now; only while it is compared with the listing."""
        return join(self.path, "found")

    @property
    def exported(self) -> str:
        """A copy of all scores on its way into one file; only while that is written."""
        return join(self.path, "export")
