"""Evaluated runs without training: the files that compare reads."""

from pathlib import Path

import pyarrow as pa

from skinclf.config.loader import load_config
from skinclf.config.schema import SplitConfig
from skinclf.evaluation.predictions import Predictions
from skinclf.reporting.results import write_result
from skinclf.spec.image_spec import BENBRAHIM_2020
from skinclf.spec.tables import predictions_schema
from skinclf.spec.taxonomy import probability_column
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.files import join, write_table
from skinclf.storage.run_folder import Labels, RunFolder, model_digest
from tests.evaluation.drawn import evaluation_result


def write_run(path: Path, predictions: Predictions, *assignments: str, on: str = "test") -> None:
    """A finished run of these settings that was evaluated on a set."""
    run, model = RunFolder(str(path)), path.name.encode()
    taxonomy = predictions.taxonomy
    dataset = Dataset(
        skinclf="0.1.0",
        created="2026-11-25",
        sources=["archive.zip"],
        metadata="metadata.csv",
        taxonomy=taxonomy,
        split=SplitConfig(),
        shards=1,
        inputs=len(predictions),
        tensors=len(predictions),
        rejects={},
        counts={},
        files=[],
    )
    run.begin(load_config(None, assignments), dataset)
    run.write_model(model, Labels(taxonomy, BENBRAHIM_2020), parameters=10)
    folder = run.evaluation(on)
    result = evaluation_result(predictions, rounds=50)
    write_result(folder.metrics, result.model_copy(update={"digest": model_digest(model)}))
    write_table(table_of(predictions), join(folder.predictions, "part-00000.parquet"))


def table_of(predictions: Predictions) -> pa.Table:
    """Predictions as `evaluate` writes them."""
    codes = predictions.taxonomy.codes
    rows = [
        {
            "image_id": image,
            "lesion_id": f"L{predictions.lesions[n]:06}",
            "dx": codes[predictions.labels[n]],
            "predicted": codes[predictions.predicted[n]],
        }
        | {
            probability_column(code): float(predictions.probabilities[n, label])
            for label, code in enumerate(codes)
        }
        for n, image in enumerate(predictions.image_ids)
    ]
    return pa.Table.from_pylist(rows, schema=predictions_schema(predictions.taxonomy))
