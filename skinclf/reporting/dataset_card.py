"""README.md of a dataset: what is in it, and how `datasets.load_dataset` finds its splits."""

from typing import Any

from skinclf.reporting.front_matter import front_matter, licence_of
from skinclf.reporting.pages import render
from skinclf.spec.tables import TENSORS
from skinclf.storage.dataset_folder import TENSORS as FOLDER
from skinclf.storage.dataset_folder import Dataset

HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""What `datasets` calls our splits."""


def dataset_card(dataset: Dataset) -> str:
    """The card, which names the files of each split and the columns, labels as classes."""
    files = [
        {"split": HUB_SPLITS[split], "path": f"{FOLDER}/split={split}/*.parquet"}
        for split in HUB_SPLITS
        if dataset.count(split)
    ]
    values = {
        **licence_of(dataset.licence),
        "task_categories": ["image-classification"],
        "tags": ["dermatoscopy", "skinclf"],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"features": [_feature(name, dataset) for name in TENSORS.names]},
    }
    return front_matter(values) + render("dataset_card.md.j2", {"dataset": dataset})


def _feature(name: str, dataset: Dataset) -> dict[str, Any]:
    if name == "label":
        names = {str(label): code for label, code in enumerate(dataset.taxonomy.codes)}
        return {"name": name, "dtype": {"class_label": {"names": names}}}
    kind = str(TENSORS.field(name).type)
    return {"name": name, "dtype": {"float": "float32", "double": "float64"}.get(kind, kind)}
