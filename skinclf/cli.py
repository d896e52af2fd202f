"""The `skinclf` command; jobs/NAME.py are the same commands for spark-submit."""

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skinclf.config.loader import Option, load_config
from skinclf.config.schema import Config
from skinclf.errors import SkinclfError
from skinclf.system.interruption import ended_by_signals, interrupted_by
from skinclf.system.text import printable

app = typer.Typer(
    name="skinclf",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Train, evaluate and run a skin lesion classifier on a Spark cluster of ordinary CPUs.",
)

ConfigFile = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="TOML file; see conf/default.toml."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; repeatable."),
]

terminal = Console(stderr=True, soft_wrap=True)
"""Progress and log lines; results go to stdout."""


class TerminalHandler(logging.Handler):
    """Log lines through rich, so that they stand above a progress bar and not inside it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        say(self.format(record))


def say(text: str, style: str | None = None) -> None:
    """Print a message; names in it may not steer the terminal."""
    terminal.print(printable(text, keep="\n"), style=style, markup=False, highlight=False)


@app.command()
def prepare(config: ConfigFile = None, assignments: Assignments = None) -> None:
    """Read an archive and its metadata, and write the dataset to train on.

    **Inputs:** `archive.paths` (folders, zip and tar files, Parquet, images, lists) and
    `archive.metadata`: a CSV in the form of HAM10000, of the ISIC archive's export or of ISIC
    2018's ground truth.

    **Output:** `dataset.path` with tensors, rejects and, last of all, dataset.json.

    **Example:** `skinclf prepare --config conf/default.toml
    --set archive.paths='["part_1.zip","part_2.zip"]' --set archive.metadata=HAM10000_metadata.csv`
    """
    settings = _load(config, assignments)
    from skinclf.stages.prepare import prepare

    dataset = prepare(settings, terminal)
    rows = [
        (split, *(f"{counts.get(code, 0):,}" for code in dataset.classes), f"{total:,}")
        for split, counts in dataset.counts.items()
        for total in [sum(counts.values())]
    ]
    _print_table("images", ("split", *dataset.classes, "all"), rows)
    if dataset.rejects:
        _print_table("rejects", ("reason", "inputs"), dataset.rejects.items())


@app.command()
def train(config: ConfigFile = None, assignments: Assignments = None) -> None:
    """Train a network (`model.name`) on the dataset, through MirroredStrategyRunner.

    **Input:** `dataset.path`.

    **Output:** `run.path` with config.toml, history.jsonl, figures, model.keras and model_card.md.

    **Examples:** one slot in this process: `skinclf train --set run.path=runs/first`. Four Spark
    tasks: `spark-submit --master spark://HOST:7077 jobs/train.py --set train.local_mode=false
    --set train.slots=4`
    """
    settings = _load(config, assignments)
    from skinclf.stages.train import train

    train(settings, terminal)


@app.command()
def doctor(config: ConfigFile = None, assignments: Assignments = None) -> None:
    """Look at whether the cluster is fit to train; trains nothing. `train` looks first, too.

    **Input:** `dataset.path`; `run.path` is written to and left as it was.

    **Output:** what was found, and what to change. Exit status 2 unless all is well.

    **Example:** `spark-submit --master spark://HOST:7077 jobs/doctor.py --config
    conf/cluster.toml`
    """
    settings = _load(config, assignments)
    from skinclf.distributed.preflight import check_fit
    from skinclf.stages.doctor import doctor

    checks = doctor(settings)
    rows = [
        (
            "ok" if check.passed else "FAILED",
            check.name,
            f"{check.found} ({check.hint})" if check.hint else check.found,
        )
        for check in checks
    ]
    _print_table("skinclf doctor", ("", "check", "found"), rows, right=False)
    check_fit(checks)


@app.command()
def explore(config: ConfigFile = None, assignments: Assignments = None) -> None:
    """Draw what the dataset holds: the paper's figures 6.1 to 6.6.

    **Input:** `dataset.path`.

    **Output:** `dataset.path`/exploration with six PNG files and exploration.html.

    **Example:** `skinclf explore --set dataset.path=dataset`
    """
    settings = _load(config, assignments)
    from skinclf.stages.explore import explore

    print(explore(settings, terminal))


@app.command()
def evaluate(
    config: ConfigFile = None,
    assignments: Assignments = None,
    archive: Annotated[
        list[str] | None,
        typer.Option(help="Evaluate this labelled archive instead of a split; repeatable."),
    ] = None,
    metadata: Annotated[str | None, typer.Option(help="The archive's CSV of diagnoses.")] = None,
) -> None:
    """Measure how good a trained model is, on the test split or on an archive from elsewhere.

    **Inputs:** `dataset.path` and `run.path`; with `--archive` and `--metadata` any labelled
    archive, its CSV in the form of HAM10000, of the ISIC archive's export or of ISIC 2018's ground
    truth.

    **Output:** `run.path`/evaluation/SET with predictions, metrics.json, pictures, a report (HTML)
    and near duplicates of training images; and `run.path`/model_card.md.

    **Examples:** `skinclf evaluate --set run.path=runs/first`. Another set: `skinclf evaluate
    --set run.path=runs/first --archive ISIC2018_Task3_Test_Input.zip
    --metadata ISIC2018_Task3_Test_GroundTruth.csv`
    """
    options = (
        Option("--archive", "evaluate.archive", archive),
        Option("--metadata", "evaluate.metadata", metadata),
    )
    settings = _load(config, assignments, options)
    from skinclf.reporting.tables import INTERVAL, baseline_title, metric_rows
    from skinclf.stages.evaluate import evaluate

    result, report = evaluate(settings, terminal)
    _print_table(
        f"{result.images:,} images of {result.set}",
        ("metric", "model", INTERVAL, baseline_title(result.taxonomy)),
        [(row.title, row.model, row.interval, row.baseline) for row in metric_rows(result)],
    )
    print(report)


@app.command()
def replicate(config: ConfigFile = None, assignments: Assignments = None) -> None:
    """Repeat the paper's experiment by its own protocol and by ours, and print both beside it.

    **Inputs:** `archive.paths` and `archive.metadata`: HAM10000's.

    **Output:** datasets and runs at `dataset.path` and `run.path` with `-by-image` and
    `-by-lesion` added; `run.path`/replication.html with the table and the paper's nine figures,
    and replication.json. Started again, it goes on where it was.

    **Example:** `skinclf replicate --config conf/paper.toml
    --set archive.paths='["part_1.zip","part_2.zip"]' --set archive.metadata=HAM10000_metadata.csv`
    """
    settings = _load(config, assignments)
    from skinclf.stages.replicate import COLUMNS, replicate

    rows, page = replicate(settings, terminal)
    _print_table("the paper, replicated", COLUMNS, rows)
    print(page)


@app.command()
def score(
    config: ConfigFile = None,
    assignments: Assignments = None,
    archive: Annotated[
        list[str] | None, typer.Option(help="Score this folder or archive; repeatable.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--format", help="One file besides: csv, or isic.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Stop after so many new images.")] = None,
    retry_rejects: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REASON", help="Try rejects of this reason again, or all; repeatable."
        ),
    ] = None,
) -> None:
    """Score every image of an archive with a trained model; no metadata is needed.

    **Inputs:** `--archive` or `score.archive` (as `archive.paths`, which is taken where both are
    empty), and `run.path`.

    **Output:** `score.output` with scores, rejects (Parquet) and, last of all, summary.json.

    **Example:** `skinclf score --archive new.zip --set run.path=runs/first --format isic`
    """
    options = (
        Option("--archive", "score.archive", archive),
        Option("--format", "score.format", table),
        Option("--limit", "score.limit", limit),
        Option("--retry-rejects", "score.retry_rejects", retry_rejects),
    )
    settings = _load(config, assignments, options)
    from skinclf.stages.score import score

    summary = score(settings, terminal)
    _print_table("predicted", ("class", "images"), summary.predicted.items())
    if summary.rejects:
        _print_table("rejects", ("reason", "files"), summary.rejects.items())


@app.command()
def demo(
    folder: Annotated[str, typer.Option(help="Where everything is written.")] = "demo",
    images: Annotated[int, typer.Option(min=100, help="How many images to draw.")] = 900,
) -> None:
    """Draw a small archive and take it all the way: prepare, explore, train, evaluate, score.

    **Output:** the archive, the dataset, the run and the scores below `--folder`, which is
    emptied first if an earlier demo made it.

    **Example:** `skinclf demo --folder /tmp/demo`
    """
    _load(None, None)
    from skinclf.stages.demo import demo

    result = demo(folder, images, terminal)
    _print_table("skinclf demo", result.columns, result.rows())
    print(f"report: {result.report}")


@app.command()
def java_home() -> None:
    """Print the JAVA_HOME that Spark can run on, for spark-submit on a machine without Java.

    **Example:** `JAVA_HOME=$(skinclf java-home) spark-submit jobs/prepare.py`
    """
    from skinclf.spark.java import java_home

    print(java_home())


def main(job: str | None = None) -> None:
    """Run the command line; `job` is the command when spark-submit starts jobs/NAME.py.

    Ends the process: 0 all went well, 2 wrong settings or paths, 75 the storage failed and a
    later try may help, 130 or 143 ended by Ctrl-C or SIGTERM, 1 anything else.
    """
    arguments = sys.argv[1:] if job is None else [job, *sys.argv[1:]]
    name = "skinclf" if job is None else "spark-submit"
    try:
        with ended_by_signals():
            app(arguments, prog_name=name)
    except BaseException as error:  # any: see interrupted_by
        number = interrupted_by()
        if number is not None:
            say("Interrupted. Rerun the same command to resume.", "bold")
            sys.exit(128 + number)  # as shells have it
        if isinstance(error, SkinclfError):
            say(f"error: {error}", "bold red")
            sys.exit(error.exit_status)
        raise


def _load(
    config: str | None, assignments: list[str] | None, options: Sequence[Option] = ()
) -> Config:
    """Settings of this command, with logging set up for it."""
    logger = logging.getLogger("skinclf")
    if not logger.handlers:
        handler = TerminalHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    given = [option for option in options if option.value not in (None, [])]
    return load_config(config, assignments or (), given)


def _print_table(title: str, columns: tuple[str, ...], rows: object, *, right: bool = True) -> None:
    """A table on stdout; `right`: all columns but the first hold numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if right and number else "left", overflow="fold")
    for row in rows:  # type: ignore[attr-defined]
        table.add_row(*(escape(printable(str(cell))) for cell in row))
    Console().print(table)
