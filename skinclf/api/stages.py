"""prepare, explore, train, evaluate, cross_validate, score: settings in, a result out.

They use the Spark session that runs, and leave it as it was. Where none runs, each has one of its
own, as the commands have. Frameworks are imported when a stage is called.

Whatever they raise on purpose is a SkinclfError. Beside what each one names, all raise:

- ConfigError for settings, other children of UsageError for what is missing or in the way, and
  JavaError where there is no Java.
- StorageUnavailable where the storage fails, and ExecutorsLost where Spark lost machines: a later
  try may help, and resumes.
- StorageError where nothing can be written, and OwnershipLost where another job took the folder.
- SparkJobError where Spark ended the job, and CheckError where an input got lost: faults to report.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console

from skinclf.api.results import (
    CrossValidated,
    Evaluated,
    Explored,
    Prepared,
    Result,
    Scored,
    Trained,
)
from skinclf.config.loader import load_config, settings_options
from skinclf.config.schema import Config
from skinclf.errors import ConfigError, QualityError
from skinclf.system.retrying import failure_of
from skinclf.system.standard_streams import standard_stream

Path = str | os.PathLike[str]
Paths = Path | Sequence[Path]
ConfigOrFile = Config | Path | Sequence[Path] | None
Settings = Mapping[str, object]

NO_SETTINGS: Settings = {}


@contextmanager
def _storage_failures() -> Iterator[None]:
    """Raise as an error of skinclf what the storage says before Spark starts."""
    try:
        yield
    except OSError as error:
        failure = failure_of(error)
        if failure is None:
            raise
        raise failure from error


@_storage_failures()
def prepare(
    config: ConfigOrFile = None,
    *,
    archive: Paths | None = None,
    metadata: Path | None = None,
    output: Path | None = None,
    settings: Settings = NO_SETTINGS,
    quiet: bool = False,
) -> Prepared:
    """Read a labelled archive and write the dataset to train on, as `skinclf prepare` does.

    Args:
        config: a TOML file, several (later ones win), or what
            `skinclf.config.loader.load_config` returns; None: the defaults.
        archive: folders, zip, tar and Parquet files, images, lists (`archive.paths`).
        metadata: the table of diagnoses, or "folders" (`archive.metadata`).
        output: the new dataset's folder (`dataset.path`).
        settings: any other settings by name, such as `{"split.seed": 1}`; arguments win over
            them, and they over `config`.
        quiet: print no progress.

    Raises:
        QualityError: no input became a tensor.
        SkinclfError: what all stages raise: see skinclf.api.stages.
    """
    chosen = _configured(
        config, settings, {"archive.paths": archive, "archive.metadata": metadata} | _data(output)
    )
    from skinclf.stages.prepare import prepare as stage

    return Prepared(stage(chosen, _console(quiet)))


@_storage_failures()
def explore(
    config: ConfigOrFile = None,
    *,
    dataset: Path | None = None,
    settings: Settings = NO_SETTINGS,
    quiet: bool = False,
) -> Explored:
    """Draw what a dataset holds, as `skinclf explore` does.

    Args:
        config: a TOML file, several (later ones win), or what
            `skinclf.config.loader.load_config` returns; None: the defaults.
        dataset: the dataset's folder (`dataset.path`).
        settings: any other settings by name.
        quiet: print no progress.

    Raises:
        DatasetError: there is no finished dataset.
        SkinclfError: what all stages raise: see skinclf.api.stages.
    """
    chosen = _configured(config, settings, _data(dataset))
    from skinclf.stages.explore import explore as stage

    return Explored(stage(chosen, _console(quiet)))


@_storage_failures()
def train(
    config: ConfigOrFile = None,
    *,
    dataset: Path | None = None,
    run: Path | None = None,
    settings: Settings = NO_SETTINGS,
    quiet: bool = False,
) -> Trained:
    """Train a network on a dataset, as `skinclf train` does: an unfinished run is resumed.

    Args:
        config: a TOML file, several (later ones win), or what
            `skinclf.config.loader.load_config` returns; None: the defaults.
        dataset: the dataset's folder (`dataset.path`).
        run: the folder that the run goes to (`run.path`).
        settings: any other settings by name, such as `{"train.epochs": 5}`.
        quiet: print no progress.

    Raises:
        PreflightError: the cluster can't train.
        TrainingError: training ended without a model; WorkersLost and SlotsUnavailable, its
            children, where a later try may help.
        SkinclfError: what all stages raise: see skinclf.api.stages.
    """
    chosen = _configured(config, settings, _data(dataset) | {"run.path": run})
    from skinclf.stages.train import train as stage
    from skinclf.storage.files import absolute
    from skinclf.storage.run_folder import RunFolder

    history = stage(chosen, _console(quiet))
    folder = RunFolder(absolute(chosen.run.path))
    return Trained(folder.path, history, folder.read_config().train)


@_storage_failures()
def evaluate(
    config: ConfigOrFile = None,
    *,
    dataset: Path | None = None,
    run: Path | None = None,
    archive: Paths | None = None,
    metadata: Path | None = None,
    settings: Settings = NO_SETTINGS,
    quiet: bool = False,
) -> Evaluated:
    """Evaluate a run's model, as `skinclf evaluate` does.

    Args:
        config: a TOML file, several (later ones win), or what
            `skinclf.config.loader.load_config` returns; None: the defaults.
        dataset: the dataset that the run was trained on (`dataset.path`).
        run: the run's folder (`run.path`).
        archive: a labelled archive to evaluate instead of a split (`evaluate.archive`).
        metadata: its table of diagnoses, or "folders" (`evaluate.metadata`).
        settings: any other settings by name, such as `{"evaluate.split": "val"}`.
        quiet: print no progress.

    Raises:
        LeakError: the model was trained on tested images.
        QualityError: `evaluate.gates` are not reached. Everything is written, and the error's
            `result` is what else would be returned.
        SkinclfError: what all stages raise: see skinclf.api.stages.
    """
    given = {"evaluate.archive": archive, "evaluate.metadata": metadata}
    chosen = _configured(config, settings, _data(dataset) | {"run.path": run} | given)
    from skinclf.evaluation.gates import check_gates
    from skinclf.stages.evaluate import evaluate as stage

    result, report = stage(chosen, _console(quiet))
    evaluated = Evaluated(result, report)
    with _result_kept(evaluated):
        check_gates(result, report, chosen.evaluate.gates)
    return evaluated


@_storage_failures()
def cross_validate(
    config: ConfigOrFile = None,
    *,
    archive: Paths | None = None,
    metadata: Path | None = None,
    output: Path | None = None,
    by: str | None = None,
    folds: int | None = None,
    min_lesions: int | None = None,
    settings: Settings = NO_SETTINGS,
    quiet: bool = False,
) -> CrossValidated:
    """Test every image once, as `skinclf cross-validate` does: what is finished is not done again.

    Args:
        config: a TOML file, several (later ones win), or what
            `skinclf.config.loader.load_config` returns; None: the defaults.
        archive: folders, zip, tar and Parquet files, images, lists (`archive.paths`).
        metadata: the table of diagnoses, or "folders" (`archive.metadata`).
        output: the folder of datasets, runs and pages (`cross_validate.output`).
        by: "fold", or "source" to leave out each source once (`cross_validate.by`).
        folds: how many parts (`cross_validate.folds`).
        min_lesions: sources with fewer are only trained on (`cross_validate.min_lesions`).
        settings: any other settings by name, such as `{"train.epochs": 5}`.
        quiet: print no progress.

    Raises:
        LeakError: a lesion would be tested by a model that was trained on it.
        TrainingError: a training ended without a model; its children as of `train`.
        QualityError: `evaluate.gates` are not reached. Everything is written, and the error's
            `result` is what else would be returned.
        SkinclfError: what all stages raise: see skinclf.api.stages.
    """
    given: dict[str, object] = {
        "archive.paths": archive,
        "archive.metadata": metadata,
        "cross_validate.output": output,
        "cross_validate.by": by,
        "cross_validate.folds": folds,
        "cross_validate.min_lesions": min_lesions,
    }
    chosen = _configured(config, settings, given)
    from skinclf.evaluation.gates import check_gates
    from skinclf.stages import cross_validate as stage

    stage.check_given(chosen, folds=folds, min_lesions=min_lesions)
    found, page = stage.cross_validate(chosen, _console(quiet))
    result = CrossValidated(found, page)
    with _result_kept(result):
        check_gates(found.pooled, page, chosen.evaluate.gates)
    return result


@_storage_failures()
def score(
    config: ConfigOrFile = None,
    *,
    run: Path | None = None,
    archive: Paths | None = None,
    output: Path | None = None,
    settings: Settings = NO_SETTINGS,
    quiet: bool = False,
) -> Scored:
    """Score what is new in an archive, as `skinclf score` does: each image exactly once.

    Args:
        config: a TOML file, several (later ones win), or what
            `skinclf.config.loader.load_config` returns; None: the defaults.
        run: the run whose model scores (`run.path`).
        archive: folders, zip, tar and Parquet files, images, lists (`score.archive`).
        output: the folder of all scores; each model has its own in it (`score.output`).
        settings: any other settings by name, such as `{"score.limit": 100}`.
        quiet: print no progress.

    Raises:
        QualityError: more was rejected than `score.max_reject_fraction`. All else is scored, and
            the error's `result` is what else would be returned.
        SkinclfError: what all stages raise: see skinclf.api.stages.
    """
    given = {"run.path": run, "score.archive": archive, "score.output": output}
    chosen = _configured(config, settings, given)
    from skinclf.stages.score import score as stage
    from skinclf.stages.score_summary import check_rejects

    summary = stage(chosen, _console(quiet))
    scored = Scored(summary)
    with _result_kept(scored):
        check_rejects(summary, chosen.score.max_reject_fraction)
    return scored


@contextmanager
def _result_kept(result: Result) -> Iterator[None]:
    """Give a QualityError of the block inside the result that a notebook shows."""
    try:
        yield
    except QualityError as error:
        error.result = result
        raise


def _configured(
    config: ConfigOrFile, settings: Settings, arguments: Mapping[str, object]
) -> Config:
    """The settings of a call. Raises ConfigError."""
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f'settings: {{"section.key": value}} is expected, such as {{"train.epochs": 25}}; got '
            f"{settings!r}"
        )
    given = {key: value for key, value in arguments.items() if value is not None}
    # Arguments come last, and win. Each is called like its setting, as its documentation has it.
    own = [option._replace(name=option.key) for option in settings_options(given)]
    return load_config(_files(config), (), [*settings_options(settings), *own])


def _files(config: ConfigOrFile) -> Config | list[str] | None:
    """What `load_config` takes. Raises ConfigError."""
    if config is None or isinstance(config, Config):
        return config
    files = config if isinstance(config, list | tuple) else [config]
    paths = [file for file in files if isinstance(file, str | os.PathLike)]
    if len(paths) < len(files):
        raise ConfigError(
            f"config: a TOML file, a list of them, or what skinclf.config.loader.load_config "
            f"returns, is expected; got {config!r}. settings= takes a dict"
        )
    return [os.fspath(path) for path in paths]


def _data(path: Path | None) -> dict[str, object]:
    return {"dataset.path": path}


def _console(quiet: bool) -> Console:
    """Progress on stdout: a bar in a terminal; in a notebook lines, since a bar needs a widget."""
    return Console(file=standard_stream("stdout"), quiet=quiet, force_jupyter=False, soft_wrap=True)
