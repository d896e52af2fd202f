"""The options of the commands. Most stand for a setting."""

from typing import Annotated

import typer

from skinclf.cli.terminal import FORMATS, VARIABLE, log_to_terminal, tell_begin
from skinclf.config.loader import Option, load_config
from skinclf.config.schema import Config

ConfigFile = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file; see conf/default.toml. Repeatable: what later files say wins.",
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of tables.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Check settings and inputs, print what would be read, written and started, and stop.",
    ),
]


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(FORMATS)}")
    return name


LogFormat = Annotated[
    str,
    typer.Option(
        "--log-format",
        metavar=f"[{'|'.join(FORMATS)}]",
        envvar=VARIABLE,
        callback=_known_format,
        help="Lines for people, or one JSON object a line for log collectors (on stderr).",
    ),
]
"""Declared for help and checks; `cli.process.run` has read it before."""

DatasetPath = Annotated[
    str | None,
    typer.Option("--dataset", metavar="PATH", help="The dataset (dataset.path)."),
]
RunPath = Annotated[
    str | None, typer.Option("--run", metavar="PATH", help="The training run (run.path).")
]
LabelledArchive = Annotated[
    list[str] | None,
    typer.Option(
        "--archive",
        metavar="PATH",
        help="A folder, zip, tar, Parquet file or list of images; repeatable (archive.paths).",
    ),
]
Metadata = Annotated[
    str | None,
    typer.Option(
        "--metadata",
        metavar="FILE",
        help="The CSV of diagnoses, or `folders`: each class has a folder (archive.metadata).",
    ),
]
DatasetOutput = Annotated[
    str | None,
    typer.Option("--output", metavar="PATH", help="Where the dataset goes (dataset.path)."),
]
TestedArchive = Annotated[
    list[str] | None,
    typer.Option(
        "--archive",
        metavar="PATH",
        help="Evaluate this labelled archive instead of a split; repeatable.",
    ),
]
TestedMetadata = Annotated[
    str | None,
    typer.Option(
        "--metadata", metavar="FILE", help="The archive's CSV of diagnoses, or `folders`."
    ),
]
ScoredArchive = Annotated[
    list[str] | None,
    typer.Option(
        "--archive",
        metavar="PATH",
        help="A folder, zip, tar, Parquet file, image, list or `table:NAME`; repeatable.",
    ),
]
ScoresOutput = Annotated[
    str | None,
    typer.Option(
        "--output", metavar="PATH", help="Where the scores go, a folder in it for each model."
    ),
]
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="[csv|isic]", help="Also write all scores as one CSV file."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        help="Stop after N new images. What an interrupted job has listed comes first.",
    ),
]
RetryRejects = Annotated[
    list[str] | None,
    typer.Option(
        "--retry-rejects",
        metavar="REASON",
        help="Try rejects of this reason again, or all; repeatable.",
    ),
]

DropWaiting = Annotated[
    bool | None,
    typer.Option(
        "--drop-waiting",
        help="Drop what an interrupted job listed and did not score (score.drop_waiting).",
    ),
]

CrossValidationOutput = Annotated[
    str | None,
    typer.Option("--output", metavar="PATH", help="Where everything goes (cross_validate.output)."),
]
TestedInTurn = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="[fold|source]",
        help="Test parts of all images in turn, or leave out each source (cross_validate.by).",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option("--folds", metavar="N", help="How many parts (cross_validate.folds)."),
]
MinLesions = Annotated[
    int | None,
    typer.Option(
        "--min-lesions",
        metavar="N",
        help="Sources with fewer are only trained on (cross_validate.min_lesions).",
    ),
]

# These stand for no setting.
Runs = Annotated[
    list[str], typer.Argument(metavar="RUN RUN…", help="Runs; the first is the reference.")
]
EvaluatedSet = Annotated[
    str,
    typer.Option("--on", metavar="SET", help="Compare on this split or set: RUN/evaluation/SET."),
]
Scores = Annotated[str, typer.Argument(metavar="SCORES/MODEL", help="The scores of one model.")]
Page = Annotated[str, typer.Option("--output", metavar="FILE", help="The page to write.")]
MostImages = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, help="Show at most N images.")
]
ExportTo = Annotated[
    str,
    typer.Option("--to", metavar="[savedmodel|onnx|openvino]", help="The format to write."),
]
ExportOutput = Annotated[
    str,
    typer.Option("--output", metavar="PATH", help="The new folder that the model goes to."),
]


def settings_of(config: list[str] | None, assignments: list[str] | None, *given: Option) -> Config:
    """Settings of this command, with its log lines shown."""
    log_to_terminal()
    chosen = [option for option in given if option.value not in (None, [])]
    settings = load_config(config, assignments or (), chosen)
    tell_begin(settings)
    return settings
