"""The paper's experiment by its own protocol and by ours, in one table beside its pictures."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass

from rich.console import Console

from skinclf import __version__
from skinclf.config.loader import changed
from skinclf.config.schema import Config
from skinclf.errors import ConfigError
from skinclf.evaluation.gates import check_gate_settings
from skinclf.evaluation.result import EvaluationResult, Interval
from skinclf.reporting.pages import render
from skinclf.spark.session import spark_session
from skinclf.stages.deciding import check_decision
from skinclf.stages.evaluate import evaluate
from skinclf.stages.explore import PAGE, explore
from skinclf.stages.resuming import check_shared_files, known_result, prepared
from skinclf.stages.train import check_settings, train
from skinclf.storage.dataset_folder import EXPLORATION
from skinclf.storage.files import (
    absolute,
    beside,
    exists,
    join,
    list_names,
    read_bytes,
    write_json,
    write_text,
)
from skinclf.storage.run_folder import RunFolder

PAPER = {
    "val": {"accuracy": 0.9406, "loss": 0.1452},
    "test": {"accuracy": 0.9393, "loss": 0.1463},
}
"""Benbrahim, Hachimi and Amine (2020), chapter 6: what they call accuracy and loss."""

PROTOCOLS = {
    "image": "the paper's: split by image",
    "lesion": "ours: split by lesion",
}

SHOWN = ("binary_accuracy", "binary_crossentropy", "accuracy", "balanced_accuracy")
COLUMNS = ("split", "binary accuracy", "loss", "top-1", "balanced accuracy")
"""Loss: binary cross-entropy, as the paper's."""

NAME = "replication"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replicated:
    """One split of one protocol, as evaluate measured it."""

    by: str
    split: str
    result: EvaluationResult

    def rows(self) -> list[tuple[str, ...]]:
        """Under COLUMNS: the model, and the baseline on the same images."""
        model, baseline = self.result.model, self.result.baseline
        intervals = self.result.intervals
        return [
            (
                f"by {self.by}, {self.split}",
                *(with_interval(model[name], intervals.get(name)) for name in SHOWN),
            ),
            (
                f"… always {self.result.taxonomy.majority}",
                *(with_interval(baseline[name]) if name in intervals else "" for name in SHOWN),
            ),
        ]


def with_interval(value: float, interval: Interval | None = None) -> str:
    """A metric, with its 95% interval where it has one."""
    known = [f"{limit:.3f}" for limit in interval or () if limit is not None]
    limits = f" ({'–'.join(known)})" if known else ""
    return f"{value:.4f}{limits}"


def replicate(config: Config, console: Console) -> tuple[list[tuple[str, ...]], str]:
    """Take the archive through all stages, split by image and by lesion → (rows under COLUMNS,
    the path of the page).

    What an earlier start has finished is taken over. Datasets and runs lie at dataset.path and
    run.path with `-by-image` and `-by-lesion` added; the page and the same metrics as JSON in
    run.path itself. Raises what the stages raise, and DatasetError where a finished dataset is
    of another archive.
    """
    check_gate_settings(config.evaluate.gates, config.classes)
    check_decision(config.decision, config.classes, has_validation=config.split.val > 0)
    check_settings(config)
    if config.split.folds or config.split.left_out:
        raise ConfigError(
            "split.folds and split.left_out: the paper's split is of shares. Leave them out"
        )
    if config.train.teachers:
        raise ConfigError(
            "train.teachers: no teacher was trained on both datasets, by image and by lesion. "
            "Replicate without: --set 'train.teachers=[]'"
        )
    if config.dataset.overwrite:
        raise ConfigError(
            "dataset.overwrite: what an earlier start has finished is taken over. Choose other "
            "folders: dataset.path and run.path"
        )
    if config.evaluate.gates:
        log.warning("evaluate.gates: replicate checks none; evaluate and cross-validate do")
    for name, share in (("val", config.split.val), ("test", config.split.test)):
        if not share:
            raise ConfigError(f"split.{name}: is 0, and the paper's figures are of both splits")
    protocols = {by: protocol_config(config, by) for by in PROTOCOLS}
    # Both of them first: what is wrong with one is not found out after hours of training.
    for by, protocol in protocols.items():
        log.info("%s: prepare", PROTOCOLS[by])
        _prepared(protocol, console)
    results, pictures = [], []
    for by, protocol in protocols.items():
        log.info("%s", PROTOCOLS[by])
        train(protocol, console)
        results += [
            Replicated(by, split, result) for split, result in _evaluated(protocol, console)
        ]
        pictures.append({"title": PROTOCOLS[by], "files": _pictures(protocol)})
    rows: list[tuple[str, ...]] = [
        (
            f"the paper, {split}",
            with_interval(paper["accuracy"]),
            with_interval(paper["loss"]),
            "",
            "",
        )
        for split, paper in PAPER.items()
    ]
    rows += [row for result in results for row in result.rows()]
    metrics = [
        {"by": each.by, "split": each.split, **each.result.model_dump(mode="json")}
        for each in results
    ]
    write_json(join(config.run.path, f"{NAME}.json"), metrics)
    page = join(config.run.path, f"{NAME}.html")
    values = {"title": "The paper, replicated", "version": __version__, "columns": COLUMNS}
    write_text(page, render(f"{NAME}.html.j2", {**values, "rows": rows, "protocols": pictures}))
    return rows, page


def protocol_config(config: Config, by: str) -> Config:
    """The settings with another split, and with folders of their own for it."""
    return changed(
        config,
        {
            "split.by": by,
            "dataset.path": beside(config.dataset.path, f"-by-{by}"),
            "run.path": beside(config.run.path, f"-by-{by}"),
            # By image, tested lesions were trained on: that is what is to be shown.
            "evaluate.allow_leaks": by == "image",
            "evaluate.archive": (),
            "evaluate.metadata": "",
            "evaluate.name": "",
        },
    )


def _prepared(config: Config, console: Console) -> None:
    """Prepare and explore, unless that is done. Raises UsageError children where the dataset or
    the folder of the run does not do.
    """
    otherwise = "Choose other folders: dataset.path and run.path"
    dataset = prepared(config, console, otherwise)
    RunFolder(absolute(config.run.path)).check(config, dataset, "--set run.path=NAME")
    if not config.evaluate.allow_leaks:
        check_shared_files(dataset, dataset.path, "other folders in dataset.path and run.path")
    if not exists(join(dataset.path, EXPLORATION, PAGE)):
        explore(config, console)


def _evaluated(config: Config, console: Console) -> list[tuple[str, EvaluationResult]]:
    """The results on the paper's splits; measured now where they are not this model's already."""
    finished = all(known_result(config, split) for split in PAPER)
    # One session for all of them: its Python workers load TensorFlow once.
    with nullcontext() if finished else spark_session(NAME, config.spark):
        return [
            (split, known_result(config, split) or _measured(config, split, console))
            for split in PAPER
        ]


def _measured(config: Config, split: str, console: Console) -> EvaluationResult:
    return evaluate(changed(config, {"evaluate.split": split}), console)[0]


def _pictures(config: Config) -> dict[str, bytes]:
    """The paper's figures 6.1 to 6.9: title → PNG."""
    exploration = join(config.dataset.path, EXPLORATION)
    drawn = [name for name in list_names(exploration) if name.endswith(".png")]
    files = {name.removesuffix(".png"): join(exploration, name) for name in drawn}
    run = RunFolder(config.run.path)
    files["6-7-accuracy"] = run.figure("accuracy")
    files["6-8-loss"] = run.figure("loss")
    files["6-9-confusion"] = run.evaluation("test").picture("confusion")
    return {title: read_bytes(path) for title, path in files.items()}
