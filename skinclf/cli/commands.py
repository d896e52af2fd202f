"""The commands, one a stage: options in, the stage's result printed."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from skinclf.cli import options
from skinclf.cli.app import app as app
from skinclf.cli.config_commands import config_commands
from skinclf.cli.options import Assignments, ConfigFile, DatasetPath, RunPath, settings_of
from skinclf.cli.terminal import log_to_terminal, print_json, print_table, progress_console
from skinclf.config.loader import Option

if TYPE_CHECKING:
    from skinclf.stages.preview import Preview

app.add_typer(config_commands, name="config")


@app.command()
def prepare(
    config: ConfigFile = None,
    assignments: Assignments = None,
    archive: options.LabelledArchive = None,
    metadata: options.Metadata = None,
    output: options.DatasetOutput = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Read an archive and its metadata, and write the dataset to train on.

    **Inputs:** `--archive` (folders, zip, tar and Parquet files, images, lists) and `--metadata`: a
    CSV of a known format (HAM10000, ISIC and others) or with `[metadata.columns]`; or `folders`.

    **Output:** the dataset with tensors, rejects and, written last, dataset.json.

    **Example:** `skinclf prepare --archive part_1.zip --archive part_2.zip
    --metadata HAM10000_metadata.tab --output dataset`
    """
    settings = settings_of(
        config,
        assignments,
        Option("--archive", "archive.paths", archive),
        Option("--metadata", "archive.metadata", metadata),
        Option("--output", "dataset.path", output),
    )
    from skinclf.stages import prepare as stage

    if dry_run:
        _print_preview(stage.preview(settings), as_json=as_json)
        return
    dataset = stage.prepare(settings, progress_console())
    if as_json:
        kept = {"path", "inputs", "tensors", "rejects", "counts"}
        print_json(dataset.model_dump(mode="json", include=kept))
        return
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
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Train a network (`model.name`) on the dataset, through MirroredStrategyRunner.

    **Input:** `--dataset`.

    **Output:** `--run` with config.toml, history.jsonl, figures, model.keras and model_card.md.

    **Examples:** one worker in this process: `skinclf train --dataset dataset --run runs/first`.
    Four Spark tasks: `spark-submit --master spark://HOST:7077 jobs/train.py --run runs/first
    --set train.local_mode=false --set train.slots=4`
    """
    settings = settings_of(config, assignments, *_data_and_run(dataset, run))
    from skinclf.stages import train as stage

    if dry_run:
        _print_preview(stage.preview(settings), as_json=as_json)
        return
    history = stage.train(settings, progress_console())
    if as_json:
        print_json({"run": settings.run.path, "history": history})


@app.command()
def doctor(
    config: ConfigFile = None,
    assignments: Assignments = None,
    dataset: DatasetPath = None,
    run: RunPath = None,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Check whether the cluster can train; trains nothing. `train` makes the same checks first.

    **Input:** `--dataset`; a probe is written to the folder of `--run` and removed.

    **Output:** what was found, and what to change. Exit status 2 unless all checks pass, 75 if only
    slots are missing or the tasks of the checks do not end. Versions of numpy, pandas and pyarrow
    that differ are a warning.

    **Example:** `spark-submit --master spark://HOST:7077 jobs/doctor.py --config
    conf/cluster.toml`
    """
    settings = settings_of(config, assignments, *_data_and_run(dataset, run))
    from skinclf.distributed.preflight import check_fit
    from skinclf.stages.doctor import doctor

    checks = doctor(settings)
    if as_json:
        print_json([asdict(check) for check in checks])
        check_fit(checks)
        return
    notes = [check.hint or (check.advice if check.warning else "") for check in checks]
    rows = [
        (check.result, check.name, f"{check.found} ({note})" if note else check.found)
        for check, note in zip(checks, notes, strict=True)
    ]
    print_table("skinclf doctor", ("result", "check", "found"), rows, right=False)
    check_fit(checks)


@app.command()
def explore(
    config: ConfigFile = None,
    assignments: Assignments = None,
    dataset: DatasetPath = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Draw what the dataset holds: the paper's figures 6.1 to 6.6.

    **Input:** `--dataset`.

    **Output:** `--dataset`/exploration with six PNG files and exploration.html.

    **Example:** `skinclf explore --dataset dataset`
    """
    settings = settings_of(config, assignments, Option("--dataset", "dataset.path", dataset))
    from skinclf.stages import explore as stage

    if dry_run:
        _print_preview(stage.preview(settings), as_json=as_json)
        return
    page = stage.explore(settings, progress_console())
    if as_json:
        print_json({"page": page})
        return
    print(page)


@app.command()
def evaluate(
    config: ConfigFile = None,
    assignments: Assignments = None,
    dataset: DatasetPath = None,
    run: RunPath = None,
    archive: options.TestedArchive = None,
    metadata: options.TestedMetadata = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Evaluate a model on a split of its dataset, or on a labelled archive from elsewhere.

    **Inputs:** `--run` and `--dataset`, the one that the run was trained on; with `--archive` and
    `--metadata`, as for prepare, any labelled archive.

    **Output:** `--run`/evaluation/SET with predictions, metrics.json, figures, a report (HTML) and
    near duplicates of training images; and `--run`/model_card.md. Exit status 3 if `evaluate.gates`
    are not reached.

    **Examples:** `skinclf evaluate --dataset dataset --run runs/first`. Another set: `skinclf
    evaluate --dataset dataset --run runs/first --archive ISIC2018_Task3_Test_Input.zip
    --metadata ISIC2018_Task3_Test_GroundTruth.csv`
    """
    settings = settings_of(
        config,
        assignments,
        *_data_and_run(dataset, run),
        Option("--archive", "evaluate.archive", archive),
        Option("--metadata", "evaluate.metadata", metadata),
    )
    from skinclf.evaluation.gates import check_gates
    from skinclf.reporting.tables import INTERVAL, baseline_title, metric_rows
    from skinclf.stages import evaluate as stage

    if dry_run:
        _print_preview(stage.preview(settings), as_json=as_json)
        return
    result, report = stage.evaluate(settings, progress_console())
    if as_json:
        print_json({"report": report, "metrics": result.model_dump(mode="json")})
    else:
        print_table(
            f"{result.images:,} images of {result.set}",
            ("metric", "model", INTERVAL, baseline_title(result.taxonomy)),
            [(row.title, row.model, row.interval, row.baseline) for row in metric_rows(result)],
        )
        print(report)
    check_gates(result, report, settings.evaluate.gates)


@app.command()
def replicate(
    config: ConfigFile = None,
    assignments: Assignments = None,
    archive: options.LabelledArchive = None,
    metadata: options.Metadata = None,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Repeat the paper's experiment by its own protocol and by ours, and print both beside it.

    **Inputs:** `--archive` and `--metadata`: HAM10000's.

    **Output:** datasets and runs at `dataset.path` and `run.path` with `-by-image` and
    `-by-lesion` added; `run.path`/replication.html with the table and the paper's nine figures,
    and replication.json. Rerun, it resumes.

    **Example:** `skinclf replicate --config conf/paper.toml --archive part_1.zip
    --archive part_2.zip --metadata HAM10000_metadata.tab`
    """
    settings = settings_of(
        config,
        assignments,
        Option("--archive", "archive.paths", archive),
        Option("--metadata", "archive.metadata", metadata),
    )
    from skinclf.stages.replicate import COLUMNS, replicate

    rows, page = replicate(settings, progress_console())
    if as_json:
        names = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        print_json({"page": page, "rows": names})
        return
    print_table("the paper, replicated", COLUMNS, rows)
    print(page)


@app.command()
def cross_validate(
    config: ConfigFile = None,
    assignments: Assignments = None,
    archive: options.LabelledArchive = None,
    metadata: options.Metadata = None,
    output: options.CrossValidationOutput = None,
    by: options.TestedInTurn = None,
    folds: options.Folds = None,
    min_lesions: options.MinLesions = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Test every image once, by a model that was not trained on its lesion, or on its source.

    **Inputs:** `--archive` and `--metadata`, as for prepare. For each of `--folds` parts, or with
    `--by source` for each source (the column `dataset`), it prepares, trains and evaluates.

    **Output:** `--output` with datasets, runs, predictions, cross-validation.html, README.md and,
    written last, cross-validation.json. Rerun, it resumes. Exit status 3 if `evaluate.gates` are
    not reached.

    **Examples:** `skinclf cross-validate --archive part_1.zip --archive part_2.zip
    --metadata HAM10000_metadata.tab --folds 5 --output runs/by-fold`. Other hospitals: `skinclf
    cross-validate --archive images --metadata rows.csv --by source --output runs/by-source`
    """
    settings = settings_of(
        config,
        assignments,
        Option("--archive", "archive.paths", archive),
        Option("--metadata", "archive.metadata", metadata),
        Option("--output", "cross_validate.output", output),
        Option("--by", "cross_validate.by", by),
        Option("--folds", "cross_validate.folds", folds),
        Option("--min-lesions", "cross_validate.min_lesions", min_lesions),
    )
    from skinclf.evaluation.gates import check_gates
    from skinclf.reporting.cross_validation import COLUMNS, fold_rows
    from skinclf.stages import cross_validate as stage

    stage.check_given(settings, folds=folds, min_lesions=min_lesions)
    if dry_run:
        _print_preview(stage.preview(settings), as_json=as_json)
        return
    found, page = stage.cross_validate(settings, progress_console())
    if as_json:
        print_json({"page": page, "result": found.model_dump(mode="json")})
    else:
        print_table(f"cross-validation by {found.by}", COLUMNS, fold_rows(found))
        print(page)
    check_gates(found.pooled, page, settings.evaluate.gates)


@app.command()
def score(
    config: ConfigFile = None,
    assignments: Assignments = None,
    run: RunPath = None,
    archive: options.ScoredArchive = None,
    output: options.ScoresOutput = None,
    one_file: options.Format = None,
    limit: options.Limit = None,
    retry_rejects: options.RetryRejects = None,
    drop_waiting: options.DropWaiting = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Score every image of an archive with a trained model; no metadata is needed.

    **Inputs:** `--archive` or `score.archive` (`archive.paths` where both are empty), and `--run`.

    **Output:** `--output` with scores, rejects (Parquet) and, written last, summary.json. Exit
    status 3 if more was rejected than `score.max_reject_fraction`.

    **Example:** `skinclf score --run runs/first --archive new.zip --output scores --format isic`
    """
    settings = settings_of(
        config,
        assignments,
        Option("--run", "run.path", run),
        Option("--archive", "score.archive", archive),
        Option("--output", "score.output", output),
        Option("--format", "score.format", one_file),
        Option("--limit", "score.limit", limit),
        Option("--retry-rejects", "score.retry_rejects", retry_rejects),
        Option("--drop-waiting", "score.drop_waiting", drop_waiting),
    )
    from skinclf.stages import score as stage
    from skinclf.stages.score_summary import check_rejects

    if dry_run:
        _print_preview(stage.preview(settings), as_json=as_json)
        return
    summary = stage.score(settings, progress_console())
    if as_json:
        print_json(asdict(summary))
    else:
        print_table("predicted", ("class", "images"), summary.predicted.items())
        if summary.rejects:
            print_table("rejects", ("reason", "files"), summary.rejects.items())
    check_rejects(summary, settings.score.max_reject_fraction)


@app.command()
def compare(
    runs: options.Runs,
    config: ConfigFile = None,
    assignments: Assignments = None,
    on: options.EvaluatedSet = "test",
    output: options.Page = "compare.html",
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Compare runs that were evaluated on the same set: metrics, differences, settings.

    **Inputs:** two `RUN`s or more, all evaluated on `--on`. Each is compared with the first, on the
    same drawn lesions (`evaluate.bootstrap_samples`).

    **Output:** `--output`, one HTML page.

    **Example:** `skinclf compare runs/first runs/second --on test --output compare.html`
    """
    settings = settings_of(config, assignments)
    from skinclf.reporting.comparison import differences_of_runs, metrics_of_runs
    from skinclf.reporting.tables import by_metric
    from skinclf.stages.compare import compare

    comparison = compare(runs, on, settings.evaluate.bootstrap_samples, output)
    if as_json:
        print_json({"page": output, "runs": [run.summary() for run in comparison.runs]})
        return
    first = comparison.first.name
    found = metrics_of_runs(comparison)
    print_table(
        f"{len(found)} runs on {comparison.set}", ("metric", *dict(found)), by_metric(found)
    )
    differences = differences_of_runs(comparison)
    if differences:
        columns = ("metric", *dict(differences))
        print_table(f"difference to {first}", columns, by_metric(differences))
    for run in comparison.unpaired:
        print(f"{run.name} was evaluated on other images, lesions or diagnoses than {first}")
    print(output)


@app.command()
def browse(
    scores: options.Scores,
    config: ConfigFile = None,
    assignments: Assignments = None,
    output: options.Page = "browse.html",
    limit: options.MostImages = 500,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Make a page of scored images, the most uncertain first, and of the rejects.

    **Inputs:** `SCORES/MODEL`, one model's folder below `score.output`, and the archive that was
    scored, where it was then.

    **Output:** `--output`, one HTML page with small pictures. Where there are more than `--limit`
    images, it has the most uncertain ones and some of each predicted class.

    **Example:** `skinclf browse scores/3f9c2a71d0be --output browse.html --limit 500`
    """
    settings = settings_of(config, assignments)
    from skinclf.stages.browse import browse

    sample = browse(scores, settings.archive, limit, output)
    if as_json:
        print_json({"page": output, "images": dict(sample.counts), "shown": dict(sample.shown)})
        return
    rows = [
        (code, f"{sample.counts.get(code, 0):,}", f"{shown:,}")
        for code, shown in sample.shown.items()
    ]
    print_table("predicted", ("class", "images", "shown"), rows)
    print(output)


@app.command()
def export(
    to: options.ExportTo,
    output: options.ExportOutput,
    config: ConfigFile = None,
    assignments: Assignments = None,
    run: RunPath = None,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
) -> None:
    """Write a trained model for another runtime: a SavedModel, ONNX or OpenVINO.

    **Input:** `--run`. Its model is compared with the exported one on images.

    **Output:** `--output` with the model, labels.json and, written last, export.json. The model
    reads uint8 RGB arrays of its own size. It gives probabilities in the order of labels.json.

    **Example:** `skinclf export --run runs/first --to onnx --output exports/onnx`
    """
    settings = settings_of(config, assignments, Option("--run", "run.path", run))
    from skinclf.stages.export import export

    exported = export(settings.run, to, output)
    if as_json:
        print_json({"export": output, **asdict(exported)})
        return
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
    log_format: options.LogFormat = "text",
) -> None:
    """Generate a small archive and run the pipeline: prepare, explore, train, evaluate, score.

    **Output:** the archive, the dataset, the run and the scores below `--folder`, which is
    emptied first if an earlier demo made it.

    **Example:** `skinclf demo --folder /tmp/demo`
    """
    log_to_terminal()
    from skinclf.stages.demo import demo

    result = demo(folder, images, progress_console())
    print_table("skinclf demo", result.columns, result.rows())
    print(f"report: {result.report}")


@app.command()
def java_home() -> None:
    """Print the JAVA_HOME that Spark can run on, for spark-submit on a machine without Java.

    **Example:** `JAVA_HOME=$(skinclf java-home) spark-submit jobs/prepare.py`
    """
    from skinclf.spark.java import java_home

    print(java_home())


def _print_preview(preview: "Preview", *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(preview))
        return
    rows = [(kind, what) for kind, found in asdict(preview).items() for what in found]
    print_table("dry run: nothing was done", ("", "what"), rows, right=False)


def _data_and_run(dataset: str | None, run: str | None) -> tuple[Option, Option]:
    return Option("--dataset", "dataset.path", dataset), Option("--run", "run.path", run)
