"""model_card.md: what a model is, how good it is, and what it is not for."""

import json
from typing import Any

from skinclf import __version__
from skinclf.reporting.pages import render
from skinclf.spec.taxonomy import CODES, NAMES
from skinclf.storage import run_folder
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import exists, join, list_names, read_text, write_text
from skinclf.storage.history import final_epoch

NETWORKS = {
    "benbrahim2020": "The network of Benbrahim, Hachimi and Amine (2020), 788,551 parameters",
    "compact": "A residual network with group normalisation, 484,359 parameters",
}


def write_card(run: str) -> str:
    """Write the card of a finished run, with every evaluation that there is; returns its path."""
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
            "codes": CODES,
            "names": NAMES,
            "images": sum(sum(counts.values()) for counts in dataset.counts.values()),
            "network": NETWORKS[config.model.name],
            "settings": config.learned,
            "epoch": history[epoch - 1],
            "epochs": len(history),
            "minutes": sum(row["seconds"] for row in history) / 60,
            "evaluations": _evaluations(run),
        },
    )
    path = join(run, run_folder.CARD)
    write_text(path, card)
    return path


def _evaluations(run: str) -> list[dict[str, Any]]:
    folder = join(run, run_folder.EVALUATION)
    files = [join(folder, name, run_folder.METRICS) for name in list_names(folder)]
    return [json.loads(read_text(file)) for file in files if exists(file)]
