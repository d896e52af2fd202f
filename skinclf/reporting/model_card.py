"""model_card.md: what a model is, how good it is, and what it is not for."""

from skinclf import __version__
from skinclf.reporting.pages import render
from skinclf.reporting.results import read_result
from skinclf.reporting.tables import metric_rows
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.files import write_text
from skinclf.storage.history import final_epoch
from skinclf.storage.run_folder import RunFolder, model_digest
from skinclf.training.networks import NETWORKS


def write_card(run: RunFolder) -> str:
    """Write the card of a finished run, with every evaluation that there is; returns its path.

    Raises RunError where a metrics.json can't be read.
    """
    config, dataset = run.read_config(), run.read_dataset()
    history = run.read_history()
    epoch = final_epoch(history, config.train)
    results = [read_result(folder.metrics) for folder in run.evaluations()]
    card = render(
        "model_card.md.j2",
        {
            "version": __version__,
            "name": run.name,
            "digest": model_digest(run.read_model()),
            "dataset": dataset,
            "taxonomy": dataset.taxonomy,
            "of_ham10000": dataset.taxonomy.codes == HAM10000.codes,
            "image": dataset.image,
            "images": sum(sum(counts.values()) for counts in dataset.counts.values()),
            "network": _network(run, config.model.name),
            "settings": config.hyperparameters,
            "epoch": history[epoch - 1],
            "epochs": len(history),
            "minutes": sum(row["seconds"] for row in history) / 60,
            "evaluations": [(result, metric_rows(result)) for result in results],
        },
    )
    write_text(run.card, card)
    return run.card


def _network(run: RunFolder, name: str) -> str:
    """What the network is; its size where labels.json has it."""
    description = NETWORKS[name].description if name in NETWORKS else f"The network `{name}`"
    parameters = run.count_parameters()
    return description + (f", {parameters:,} parameters" if parameters else "")
