"""The whole pipeline on a small generated archive."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from skinclf.config.loader import changed, load_config, shipped_config
from skinclf.config.schema import Config
from skinclf.errors import UsageError
from skinclf.evaluation.metrics import METRICS
from skinclf.evaluation.result import EvaluationResult
from skinclf.reporting.tables import baseline_title
from skinclf.spark.session import spark_session
from skinclf.stages.evaluate import evaluate
from skinclf.stages.explore import explore
from skinclf.stages.prepare import prepare
from skinclf.stages.score import score
from skinclf.stages.score_summary import Summary
from skinclf.stages.train import train
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.ownership import check_free
from skinclf.testing.archive import METADATA, ZIPS, make_archive
from skinclf.training import check_installed

MARK = ".skinclf-demo"
"""A file that says that the folder is a demo's and may be emptied."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DemoResult:
    """What the five stages gave."""

    dataset: Dataset
    evaluation: EvaluationResult
    scores: Summary
    report: str

    @property
    def columns(self) -> tuple[str, str, str]:
        """The heads of `rows`."""
        return "", "result", baseline_title(self.evaluation.taxonomy)

    def rows(self) -> list[tuple[str, str, str]]:
        """The closing table: name, value, the same of the baseline."""
        model, baseline = self.evaluation.model, self.evaluation.baseline
        counts = {
            "inputs": self.dataset.inputs,
            "tensors": self.dataset.tensors,
            "rejects": sum(self.dataset.rejects.values()),
        }
        return [
            *((name, f"{count:,}", "") for name, count in counts.items()),
            *(
                (metric.title, metric.show(model[name]), metric.show(baseline[name]))
                for name, metric in METRICS.items()
                if metric.has_baseline
            ),
            ("images scored", f"{self.scores.scored:,}", ""),
        ]


def demo(folder: str, images: int, console: Console) -> DemoResult:
    """Make an archive of `images` in `folder` and run all five stages on it.

    Raises UsageError where the folder holds something that no demo made, and ConfigError where
    there is no TensorFlow.
    """
    check_installed()
    root = Path(folder)
    _empty(root)
    make_archive(root / "archive", images)
    log.info("generated an archive of %s images in %s", images, root / "archive")
    config = demo_config(root)
    # Stages are guests of one session where it suits them: its Python workers load TensorFlow once.
    # Training has one of its own, whose workers end with it.
    with spark_session("demo", config.spark):
        dataset = prepare(config, console)
        explore(config, console)
    train(config, console)
    with spark_session("demo", config.spark):
        evaluation, report = evaluate(config, console)
        scores = score(config, console)
    return DemoResult(dataset, evaluation, scores, report)


def demo_config(root: Path) -> Config:
    """conf/demo.toml with its paths below `root`."""
    archive = root / "archive"
    places = {
        "archive.paths": [str(archive / name) for name in ZIPS],
        "archive.metadata": str(archive / METADATA),
        "dataset.path": str(root / "dataset"),
        "run.path": str(root / "run"),
        "score.output": str(root / "scores"),
    }
    return changed(load_config(shipped_config("demo.toml")), places)


def _empty(root: Path) -> None:
    """Make the folder, or empty one of an earlier demo; a link or a mount stays what it is."""
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root}: is no folder. Name another one: --folder NAME")
    there = list(root.iterdir()) if root.exists() else []
    if there and not (root / MARK).exists():
        raise UsageError(
            f"{root}: is not empty, and no demo made it. Name another folder: --folder NAME"
        )
    scores = root / "scores"
    for folder in (root / "dataset", root / "run", *(scores.iterdir() if scores.exists() else ())):
        check_free(str(folder))  # a demo runs in there
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).touch()
    for path in there:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()
