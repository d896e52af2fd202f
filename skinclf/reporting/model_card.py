"""model_card.md: what a model is, how good it is, and what it is not for."""

from skinclf import __version__
from skinclf.evaluation.result import EvaluationResult
from skinclf.reporting.pages import render
from skinclf.reporting.results import read_result
from skinclf.reporting.tables import metric_rows
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage import run_folder
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import exists, join, list_names, write_text
from skinclf.storage.history import final_epoch

NETWORKS = {
    "benbrahim2020": "The network of Benbrahim, Hachimi and Amine (2020), 788,551 parameters",
    "compact": "A residual network with group normalisation, 484,359 parameters",
}


def write_card(run: str) -> str:
    """Write the card of a finished run, with every evaluation that there is; returns its path.

    Raises RunError where a metrics.json can't be read.
    """
    config, dataset = run_folder.read_config(run), Dataset.read(run)
    history = run_folder.read_history(run)
    epoch = final_epoch(history, config.train)
    card = render(
        "model_card.md.j2",
        {
            "version": __version__,
            "name": run.rstrip("/").rpartition("/")[2],
            "digest": run_folder.model_digest(run_folder.read_model(run)),
            "dataset": dataset,
            "taxonomy": dataset.taxonomy,
            "of_ham10000": dataset.taxonomy.codes == HAM10000.codes,
            "image": dataset.image,
            "images": sum(sum(counts.values()) for counts in dataset.counts.values()),
            "network": NETWORKS[config.model.name],
            "settings": config.learned,
            "epoch": history[epoch - 1],
            "epochs": len(history),
            "minutes": sum(row["seconds"] for row in history) / 60,
            "evaluations": [(result, metric_rows(result)) for result in _evaluations(run)],
        },
    )
    path = join(run, run_folder.CARD)
    write_text(path, card)
    return path


def _evaluations(run: str) -> list[EvaluationResult]:
    folder = join(run, run_folder.EVALUATION)
    files = [join(folder, name, run_folder.METRICS) for name in list_names(folder)]
    return [read_result(file) for file in files if exists(file)]
