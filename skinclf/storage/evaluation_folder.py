"""One evaluation of a run's model on storage: evaluation/SET/ of the run's folder."""

from dataclasses import dataclass

from skinclf.storage.files import join, name_of


@dataclass(frozen=True)
class EvaluationFolder:
    """The folder of one evaluation of a run's model."""

    path: str

    @property
    def name(self) -> str:
        """The split, or what the outside set is called."""
        return name_of(self.path)

    @property
    def metrics(self) -> str:
        """The result as JSON; there once the evaluation is finished."""
        return join(self.path, "metrics.json")

    @property
    def report(self) -> str:
        """The page."""
        return join(self.path, "report.html")

    @property
    def predictions(self) -> str:
        """Parquet files of predictions_schema."""
        return join(self.path, "predictions")

    @property
    def near_duplicates(self) -> str:
        """CSV files of images that look like training images."""
        return join(self.path, "near-duplicates")

    @property
    def neighbors(self) -> str:
        """A CSV file of the training images that the model takes for most like the tested ones."""
        return join(self.path, "neighbors")

    @property
    def rejects(self) -> str:
        """Parquet files of what could not be evaluated, of an outside set."""
        return join(self.path, "rejects")

    @property
    def scratch(self) -> str:
        """What is there only while it runs: listing, tensors and rejects of an outside set."""
        return join(self.path, "staging")

    def picture(self, name: str) -> str:
        """A figure, such as "confusion"."""
        return join(self.path, f"{name}.png")
