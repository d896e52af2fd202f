"""The commands, one a stage: options in, the stage's result printed."""

from typing import Annotated

import typer

from skinclf.cli import options
from skinclf.cli.app import app as app
from skinclf.cli.options import Assignments, ConfigFile, DatasetPath, RunPath
from skinclf.cli.terminal import log_to_terminal, print_table, terminal
from skinclf.config.loader import Option, load_config
from skinclf.config.schema import Config


@app.command()
def prepare(
    config: ConfigFile = None,
    assignments: Assignments = None,
    archive: options.LabelledArchive = None,
    metadata: options.Metadata = None,
    output: options.DatasetOutput = None,
) -> None:
    """Read an archive and its metadata, and write the dataset to train on.

    **Inputs:** `--archive` (folders, zip, tar and Parquet files, images, lists) and `--metadata`: a
    CSV in the format of HAM10000, of the ISIC archive's export or of ISIC 2018's ground truth.

    **Output:** the dataset with tensors, rejects and, written last, dataset.json.

    **Example:** `skinclf prepare --archive part_1.zip --archive part_2.zip
    --metadata HAM10000_metadata.csv --output dataset`
    """
    settings = _settings(
        config,
        assignments,
        Option("--archive", "archive.paths", archive),
        Option("--metadata", "archive.metadata", metadata),
        Option("--output", "dataset.path", output),
    )
    from skinclf.stages.prepare import prepare

    dataset = prepare(settings, terminal)
    rows = [
        (split, *(f"{counts.get(code, 0):,}" for code in dataset.classes), f"{total:,}")
        for split, counts in dataset.counts.items()
        for total in [sum(counts.values())]
    ]
    print_table("images", ("split", *dataset.classes, "all"), rows)
    if dataset.rejects:
        print_table("rejects", ("reason", "inputs"), dataset.rejects.items())


@app.command()
def train(
    config: ConfigFile = None,
    assignments: Assignments = None,
    dataset: DatasetPath = None,
    run: RunPath = None,
) -> None:
    """Train a network (`model.name`) on the dataset, through MirroredStrategyRunner.

    **Input:** `--dataset`.

    **Output:** `--run` with config.toml, history.jsonl, figures, model.keras and model_card.md.

    **Examples:** one worker in this process: `skinclf train --dataset dataset --run runs/first`.
    Four Spark tasks: `spark-submit --master spark://HOST:7077 jobs/train.py --run runs/first
    --set train.local_mode=false --set train.slots=4`
    """
    settings = _settings(config, assignments, *_data_and_run(dataset, run))
    from skinclf.stages.train import train

    train(settings, terminal)


@app.command()
def doctor(
    config: ConfigFile = None,
    assignments: Assignments = None,
    dataset: DatasetPath = None,
    run: RunPath = None,
) -> None:
    """Check whether the cluster can train; trains nothing. `train` makes the same checks first.

    **Input:** `--dataset`; a probe is written to the folder of `--run` and removed.

    **Output:** what was found, and what to change. Exit status 2 unless all checks pass.

    **Example:** `spark-submit --master spark://HOST:7077 jobs/doctor.py --config
    conf/cluster.toml`
    """
    settings = _settings(config, assignments, *_data_and_run(dataset, run))
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
    print_table("skinclf doctor", ("result", "check", "found"), rows, right=False)
    check_fit(checks)


@app.command()
def explore(
    config: ConfigFile = None, assignments: Assignments = None, dataset: DatasetPath = None
) -> None:
    """Draw what the dataset holds: the paper's figures 6.1 to 6.6.

    **Input:** `--dataset`.

    **Output:** `--dataset`/exploration with six PNG files and exploration.html.

    **Example:** `skinclf explore --dataset dataset`
    """
    settings = _settings(config, assignments, Option("--dataset", "dataset.path", dataset))
    from skinclf.stages.explore import explore

    print(explore(settings, terminal))


@app.command()
def evaluate(
    config: ConfigFile = None,
    assignments: Assignments = None,
    dataset: DatasetPath = None,
    run: RunPath = None,
    archive: options.TestedArchive = None,
    metadata: options.TestedMetadata = None,
) -> None:
    """Evaluate a model on a split of its dataset, or on a labelled archive from elsewhere.

    **Inputs:** `--run` and `--dataset`, the one that the run was trained on; with `--archive` and
    `--metadata` any labelled archive, its CSV in the format of HAM10000, of the ISIC archive's
    export or of ISIC 2018's ground truth.

    **Output:** `--run`/evaluation/SET with predictions, metrics.json, figures, a report (HTML) and
    near duplicates of training images; and `--run`/model_card.md.

    **Examples:** `skinclf evaluate --dataset dataset --run runs/first`. Another set: `skinclf
    evaluate --dataset dataset --run runs/first --archive ISIC2018_Task3_Test_Input.zip
    --metadata ISIC2018_Task3_Test_GroundTruth.csv`
    """
    settings = _settings(
        config,
        assignments,
        *_data_and_run(dataset, run),
        Option("--archive", "evaluate.archive", archive),
        Option("--metadata", "evaluate.metadata", metadata),
    )
    from skinclf.reporting.tables import INTERVAL, baseline_title, metric_rows
    from skinclf.stages.evaluate import evaluate

    result, report = evaluate(settings, terminal)
    print_table(
        f"{result.images:,} images of {result.set}",
        ("metric", "model", INTERVAL, baseline_title(result.taxonomy)),
        [(row.title, row.model, row.interval, row.baseline) for row in metric_rows(result)],
    )
    print(report)


@app.command()
def replicate(
    config: ConfigFile = None,
    assignments: Assignments = None,
    archive: options.LabelledArchive = None,
    metadata: options.Metadata = None,
) -> None:
    """Repeat the paper's experiment by its own protocol and by ours, and print both beside it.

    **Inputs:** `--archive` and `--metadata`: HAM10000's.

    **Output:** datasets and runs at `dataset.path` and `run.path` with `-by-image` and
    `-by-lesion` added; `run.path`/replication.html with the table and the paper's nine figures,
    and replication.json. Rerun, it resumes.

    **Example:** `skinclf replicate --config conf/paper.toml --archive part_1.zip
    --archive part_2.zip --metadata HAM10000_metadata.csv`
    """
    settings = _settings(
        config,
        assignments,
        Option("--archive", "archive.paths", archive),
        Option("--metadata", "archive.metadata", metadata),
    )
    from skinclf.stages.replicate import COLUMNS, replicate

    rows, page = replicate(settings, terminal)
    print_table("the paper, replicated", COLUMNS, rows)
    print(page)


@app.command()
def score(
    config: ConfigFile = None,
    assignments: Assignments = None,
    run: RunPath = None,
    archive: options.ScoredArchive = None,
    output: options.ScoresOutput = None,
    table: options.Format = None,
    limit: options.Limit = None,
    retry_rejects: options.RetryRejects = None,
) -> None:
    """Score every image of an archive with a trained model; no metadata is needed.

    **Inputs:** `--archive` or `score.archive` (`archive.paths` where both are empty), and `--run`.

    **Output:** `--output` with scores, rejects (Parquet) and, written last, summary.json.

    **Example:** `skinclf score --run runs/first --archive new.zip --output scores --format isic`
    """
    settings = _settings(
        config,
        assignments,
        Option("--run", "run.path", run),
        Option("--archive", "score.archive", archive),
        Option("--output", "score.output", output),
        Option("--format", "score.format", table),
        Option("--limit", "score.limit", limit),
        Option("--retry-rejects", "score.retry_rejects", retry_rejects),
    )
    from skinclf.stages.score import score

    summary = score(settings, terminal)
    print_table("predicted", ("class", "images"), summary.predicted.items())
    if summary.rejects:
        print_table("rejects", ("reason", "files"), summary.rejects.items())


@app.command()
def export(
    to: options.ExportTo,
    output: options.ExportOutput,
    config: ConfigFile = None,
    assignments: Assignments = None,
    run: RunPath = None,
) -> None:
    """Write a trained model for another runtime: a SavedModel, ONNX or OpenVINO.

    **Input:** `--run`. Its model is compared with the exported one on images.

    **Output:** `--output` with the model, labels.json and, written last, export.json. The model
    reads uint8 RGB arrays of its own size. It gives probabilities in the order of labels.json.

    **Example:** `skinclf export --run runs/first --to onnx --output exports/onnx`
    """
    settings = _settings(config, assignments, Option("--run", "run.path", run))
    from skinclf.stages.export import export

    exported = export(settings.run, to, output)
    print(
        f"{output}: probabilities are at most {exported.largest_difference:.1e} from Keras's "
        f"({exported.images_compared} images)"
    )


@app.command()
def demo(
    folder: Annotated[
        str, typer.Option(metavar="PATH", help="Where everything is written.")
    ] = "demo",
    images: Annotated[
        int, typer.Option(min=100, metavar="N", help="How many images to generate.")
    ] = 900,
) -> None:
    """Generate a small archive and run the pipeline: prepare, explore, train, evaluate, score.

    **Output:** the archive, the dataset, the run and the scores below `--folder`, which is
    emptied first if an earlier demo made it.

    **Example:** `skinclf demo --folder /tmp/demo`
    """
    log_to_terminal()
    from skinclf.stages.demo import demo

    result = demo(folder, images, terminal)
    print_table("skinclf demo", result.columns, result.rows())
    print(f"report: {result.report}")


@app.command()
def java_home() -> None:
    """Print the JAVA_HOME that Spark can run on, for spark-submit on a machine without Java.

    **Example:** `JAVA_HOME=$(skinclf java-home) spark-submit jobs/prepare.py`
    """
    from skinclf.spark.java import java_home

    print(java_home())


def _data_and_run(dataset: str | None, run: str | None) -> tuple[Option, Option]:
    return Option("--dataset", "dataset.path", dataset), Option("--run", "run.path", run)


def _settings(config: str | None, assignments: list[str] | None, *given: Option) -> Config:
    """Settings of this command, with its log lines shown."""
    log_to_terminal()
    chosen = [option for option in given if option.value not in (None, [])]
    return load_config(config, assignments or (), chosen)
