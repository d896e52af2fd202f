"""model_card.md: what a model is, how good it is, and what it is not for."""

from collections.abc import Sequence
from typing import Any

from skinclf import __version__
from skinclf.errors import RunError
from skinclf.evaluation.metrics import METRICS
from skinclf.evaluation.result import EvaluationResult
from skinclf.reporting.front_matter import front_matter, licence_of
from skinclf.reporting.pages import render
from skinclf.reporting.results import readable_result
from skinclf.reporting.tables import metric_rows
from skinclf.spec.taxonomy import HAM10000
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import write_text
from skinclf.storage.history import final_epoch
from skinclf.storage.run_folder import RunFolder, model_digest
from skinclf.training.networks import NETWORKS


def write_card(run: RunFolder) -> str:
    """Write the card of a finished run, with its evaluations that can be read; returns its path."""
    config, dataset = run.read_config(), run.read_dataset()
    history = run.read_history()
    epoch = final_epoch(history, config.train)
    digest = model_digest(run.read_model())
    weights = _weights(run, digest)
    evaluations = [
        (found, metric_rows(found), (found.decision and found.decision.weights) == weights)
        for folder in run.evaluations()
        if (found := readable_result(folder.metrics))
    ]
    current = [
        found for found, _, decided_so in evaluations if decided_so and found.digest == digest
    ]
    card = front_matter(_metadata(run, dataset, current)) + render(
        "model_card.md.j2",
        {
            "version": __version__,
            "name": run.name,
            "digest": digest,
            "dataset": dataset,
            "taxonomy": dataset.taxonomy,
            "of_ham10000": dataset.taxonomy.codes == HAM10000.codes,
            "image": dataset.image,
            "images": sum(sum(counts.values()) for counts in dataset.counts.values()),
            "network": _network(run, config.model.name),
            "settings": config.hyperparameters,
            "epoch": history[epoch - 1] if history else None,
            "epochs": len(history),
            "minutes": sum(row["seconds"] for row in history) / 60,
            "evaluations": evaluations,
        },
    )
    write_text(run.card, card)
    return run.card


def _weights(run: RunFolder, digest: str) -> dict[str, float] | None:
    """By which the run decides now; None for the most probable class."""
    try:
        decision = run.read_decision(digest)
    except RunError:  # of an earlier model, say: evaluate and score refuse it, a card need not
        return None
    return decision.weights if decision else None


def _metadata(
    run: RunFolder, dataset: Dataset, results: Sequence[EvaluationResult]
) -> dict[str, Any]:
    """What the Hugging Face Hub reads of a model card: of the model's `results`, by the decision
    that it has now, those on images that nothing was trained or chosen on.
    """
    evaluations = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": "image-folder", "name": result.set},
            "metrics": [
                {"type": name, "name": METRICS[name].title, "value": round(value, 4)}
                for name, value in result.model.items()
                if name in METRICS
            ],
        }
        for result in results
        if not result.leaks.images and result.set != result.chosen_on
    ]
    index = {"model-index": [{"name": run.name, "results": evaluations}]} if evaluations else {}
    return {
        **licence_of(dataset.licence),
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["dermatoscopy", "skinclf"],
        "metrics": ["accuracy"],
        **index,
    }


def _network(run: RunFolder, name: str) -> str:
    """What the network is; its size where labels.json has it."""
    description = NETWORKS[name].description if name in NETWORKS else f"The network `{name}`"
    parameters = run.count_parameters()
    return description + (f", {parameters:,} parameters" if parameters else "")
