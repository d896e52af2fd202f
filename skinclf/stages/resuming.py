"""Stages of a longer job: what an earlier start has finished is taken over."""

from rich.console import Console

from skinclf.config.schema import Config
from skinclf.errors import LeakError
from skinclf.evaluation.result import EvaluationResult
from skinclf.reporting.results import readable_result
from skinclf.stages.prepare import finished_dataset, prepare
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import exists
from skinclf.storage.run_folder import RunFolder, model_digest


def prepared(config: Config, console: Console, otherwise: str) -> Dataset:
    """The dataset of `config`; built now unless it is finished. Raises what `prepare` and
    `finished_dataset` raise.
    """
    return finished_dataset(config, otherwise) or prepare(config, console)


def check_shared_files(dataset: Dataset, place: str, otherwise: str) -> None:
    """Raise LeakError where training and test images of the dataset have files in common: before a
    training, after which `evaluate` would refuse it. `otherwise` ends what to do.
    """
    if dataset.shared_files:
        raise LeakError(
            f"{place}: training and test images have files in common, as images of two lesions, in "
            f"number: {dataset.shared_files:,}. The warning of prepare, when it built "
            f"{dataset.path}, names some. If they show one lesion, name it in "
            f"archive.same_lesion, and {otherwise}"
        )


def known_result(config: Config, split: str) -> EvaluationResult | None:
    """The evaluation of the run's model on a split, if there is one of it as it is now."""
    run = RunFolder(config.run.path)
    folder, settings = run.evaluation(split), config.evaluate
    if run.is_finished and exists(folder.metrics):
        result = readable_result(folder.metrics)
        if result is None:
            return None
        wanted = settings.screening_sensitivities if result.taxonomy.screened else ()
        if (
            result.digest == model_digest(run.read_model())
            and result.tta == settings.tta
            and result.bootstrap_samples == settings.bootstrap_samples
            and _decided_as_asked(config, result)
            and (settings.allow_leaks or not result.leaks.images)
            and result.neighbors == settings.neighbors
            and tuple(point.wanted_sensitivity for point in result.screening) == wanted
        ):
            return result
    return None


def _decided_as_asked(config: Config, result: EvaluationResult) -> bool:
    """Whether the run decides as the evaluation did, and that is what is asked for."""
    asked, found = config.decision, result.decision
    kept = RunFolder(config.run.path).read_decision(result.digest)
    if (found and found.weights) != (kept and kept.weights):
        return False
    if asked.rule == "stored":
        return True
    return result.decided_by == asked if asked.is_chosen else found is None
