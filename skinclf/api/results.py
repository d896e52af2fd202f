"""What the stages give, as types that show themselves: in words, and in a notebook as HTML."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skinclf.storage.history import Epoch, final_epoch

if TYPE_CHECKING:
    import pyarrow as pa

    from skinclf.config.schema import TrainConfig
    from skinclf.evaluation.result import CrossValidation, EvaluationResult
    from skinclf.reporting.notebook import Output, Table
    from skinclf.stages.score_summary import Summary
    from skinclf.storage.dataset_folder import Dataset
    from skinclf.training.predictor import Predictor


class Result(ABC):
    """What all results have in common: how they are shown."""

    @abstractmethod
    def __repr__(self) -> str:
        """The result in a sentence."""

    @abstractmethod
    def _output(self) -> "Output":
        """What a notebook shows."""

    def _repr_html_(self) -> str:
        """The result as HTML, which Jupyter asks for."""
        from skinclf.reporting.notebook import html_of

        return html_of(self._output())


@dataclass(frozen=True, repr=False)
class Prepared(Result):
    """A finished dataset."""

    dataset: "Dataset"
    """What dataset.json says."""

    @property
    def path(self) -> str:
        """The dataset's folder."""
        return self.dataset.path

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Split → class → images."""
        return self.dataset.counts

    @property
    def rejects(self) -> Mapping[str, int]:
        """Reason → inputs that did not become a tensor."""
        return self.dataset.rejects

    def __repr__(self) -> str:
        splits = (f"{split} {sum(by.values()):,}" for split, by in self.counts.items())
        return (
            f"{self.path}: {self.dataset.tensors:,} tensors ({', '.join(splits)}) and "
            f"{_counted(self.rejects)} of {self.dataset.inputs:,} inputs"
        )

    def _output(self) -> "Output":
        from skinclf.reporting.notebook import Output, Table

        codes = self.dataset.classes
        rows = [
            (split, *(f"{by.get(code, 0):,}" for code in codes), f"{sum(by.values()):,}")
            for split, by in self.counts.items()
        ]
        tables = [Table(("images", *codes, "all"), rows), *_reasons(self.rejects, "inputs")]
        return Output(repr(self), tables)


@dataclass(frozen=True, repr=False)
class Explored(Result):
    """The figures of a dataset."""

    page: str
    """The path of exploration.html."""

    def __repr__(self) -> str:
        return f"figures of the dataset: {self.page}"

    def _output(self) -> "Output":
        from skinclf.reporting.notebook import Output
        from skinclf.storage.files import join, parent, read_bytes

        folder = parent(self.page)
        pictures = [
            (title, read_bytes(join(folder, f"{name}.png")))
            for title, name in (("Diagnoses", "6-1-classes"), ("One of each class", "6-6-samples"))
        ]
        return Output("Figures of the dataset", pictures=pictures, links=[self.page])


@dataclass(frozen=True, repr=False)
class Trained(Result):
    """A finished training."""

    path: str
    """The run's folder."""

    history: Sequence[Epoch]
    """A row for each epoch: `epoch` (from 1), `loss`, `accuracy`, `val_loss`, …"""

    config: "TrainConfig"
    """The settings of [train] that the run was begun with."""

    @property
    def epoch(self) -> int:
        """The epoch whose weights the model has."""
        return final_epoch(self.history, self.config)

    def predictor(self) -> "Predictor":
        """The model, to be loaded: without Spark, or for `with_scores`. Raises RunError where it is
        gone or damaged.
        """
        from skinclf.training.predictor import Predictor

        return Predictor.of_run(self.path)

    def __repr__(self) -> str:
        if not self.history:
            return f"{self.path}: a model, without the history of its training"
        row = self.history[self.epoch - 1]
        shown = ("loss", "accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy")
        metrics = ", ".join(f"{name} {row[name]:.3f}" for name in shown if name in row)
        return f"{self.path}: the model of epoch {self.epoch} of {len(self.history)} ({metrics})"

    def _output(self) -> "Output":
        from skinclf.reporting.figures.training import history_figures
        from skinclf.reporting.notebook import Output
        from skinclf.reporting.pages import png

        figures = history_figures(self.history).items() if self.history else ()
        pictures = [(f"{name} by epoch", png(figure)) for name, figure in figures]
        return Output(repr(self), pictures=pictures)


@dataclass(frozen=True, repr=False)
class Evaluated(Result):
    """A finished evaluation."""

    metrics: "EvaluationResult"
    """What metrics.json says."""

    report: str
    """The path of report.html."""

    def __repr__(self) -> str:
        from skinclf.reporting.tables import metric_rows

        found = (f"{row.title} {row.cell}" for row in metric_rows(self.metrics))
        return f"{self._subject()}: {', '.join(found)}; report: {self.report}"

    def _subject(self) -> str:
        result = self.metrics
        return f"{result.images:,} images of {result.lesions:,} lesions of {result.set}"

    def _output(self) -> "Output":
        import numpy as np

        from skinclf.reporting.figures.clinical import confusion_figure
        from skinclf.reporting.notebook import Output, Table
        from skinclf.reporting.pages import png
        from skinclf.reporting.tables import INTERVAL, baseline_title, metric_rows

        taxonomy = self.metrics.taxonomy
        head = ("metric", "model", INTERVAL, baseline_title(taxonomy))
        rows = [(r.title, r.model, r.interval, r.baseline) for r in metric_rows(self.metrics)]
        figure = confusion_figure(np.array(self.metrics.confusion), taxonomy.codes, "Confusion")
        return Output(
            self._subject(),
            [Table(head, rows)],
            [("Confusion: rows the true class, columns the predicted class", png(figure))],
            [self.report],
            _warning_of(self.metrics),
        )


def _warning_of(result: "EvaluationResult") -> str:
    leaks = result.leaks.images
    return (
        f"{leaks:,} of these images share a lesion, an id or a file with images that the "
        f"model was trained on: these metrics are too good."
        if leaks
        else ""
    )


@dataclass(frozen=True, repr=False)
class CrossValidated(Result):
    """A finished cross-validation."""

    metrics: "CrossValidation"
    """What cross-validation.json says."""

    page: str
    """The path of cross-validation.html."""

    def __repr__(self) -> str:
        from skinclf.reporting.tables import metric_rows

        found = ", ".join(f"{row.title} {row.cell}" for row in metric_rows(self.metrics.pooled))
        return f"{self._subject()}: {found}; page: {self.page}"

    def _subject(self) -> str:
        result = self.metrics.pooled
        return f"{result.images:,} images of {result.lesions:,} lesions in {result.set}"

    def _output(self) -> "Output":
        from skinclf.reporting.cross_validation import COLUMNS, fold_rows, folds_figure
        from skinclf.reporting.notebook import Output, Table
        from skinclf.reporting.pages import png

        tables = [Table(COLUMNS, fold_rows(self.metrics))]
        pictures = [("Metrics with intervals", png(folds_figure(self.metrics)))]
        warning = _warning_of(self.metrics.pooled)
        return Output(self._subject(), tables, pictures, [self.page], warning)


@dataclass(frozen=True, repr=False)
class Scored(Result):
    """The scores of one model, all that there are by now."""

    summary: "Summary"
    """What summary.json says."""

    @property
    def path(self) -> str:
        """The model's folder of scores."""
        return self.summary.path

    def scores(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """The scores, one row an image; `columns`: only these. Raises what `read_scores` raises."""
        from skinclf.storage.score_view import read_scores

        return read_scores(self.path, columns)

    def rejects(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """What could not be scored, with the reasons; `columns`: only these. Raises what
        `read_scores` raises.
        """
        from skinclf.storage.score_view import read_rejects

        return read_rejects(self.path, columns)

    def __repr__(self) -> str:
        found = self.summary
        return (
            f"{found.path}: {found.scored:,} scores and {_counted(found.rejects)} of "
            f"{found.inputs:,} inputs, {found.new:,} of them new"
        )

    def _output(self) -> "Output":
        from skinclf.reporting.notebook import Output, Table

        found = self.summary
        rows = [
            (code, f"{images:,}", f"{images / found.scored:.1%}")
            for code, images in found.predicted.items()
        ]
        tables = [Table(("predicted", "images", "share"), rows)] if rows else []
        return Output(repr(self), [*tables, *_reasons(found.rejects, "files")])


def _reasons(rejects: Mapping[str, int], unit: str) -> list["Table"]:
    from skinclf.reporting.notebook import Table

    rows = [(reason, f"{count:,}") for reason, count in rejects.items()]
    return [Table(("rejected", unit), rows)] if rows else []


def _counted(rejects: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejects.items())
    total = sum(rejects.values())
    word = "reject" if total == 1 else "rejects"
    return f"{total:,} {word}" + (f" ({reasons})" if reasons else "")
