"""metrics.json on storage ↔ EvaluationResult, and the predictions beside it."""

import pyarrow as pa
import pyarrow.parquet as pq

from skinclf.errors import RunError
from skinclf.evaluation.predictions import Predictions, predictions_of
from skinclf.evaluation.result import EvaluationResult
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.files import locate, read_text, write_text
from skinclf.system.text import in_one_line


def write_result(path: str, result: EvaluationResult) -> None:
    """Write metrics.json."""
    write_text(path, result.to_json())


def read_result(path: str) -> EvaluationResult:
    """Read metrics.json. Raises RunError where it is something else, FileNotFoundError."""
    try:
        return EvaluationResult.from_json(read_text(path))
    except ValueError as error:  # pydantic's ValidationError is one
        raise RunError(
            f"{path}: can't be read as an evaluation: {in_one_line(error)}. Evaluate anew: "
            f"skinclf evaluate"
        ) from None


def read_predictions(path: str, taxonomy: Taxonomy) -> Predictions:
    """What `evaluate` has predicted, in the order of image ids. Raises RunError."""
    file_system, inner = locate(path)
    try:
        table = pq.read_table(inner, filesystem=file_system, partitioning=None)
        return predictions_of(table.sort_by("image_id"), taxonomy)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise RunError(
            f"{path}: can't be read as predictions: {in_one_line(error)}. Evaluate anew: "
            f"skinclf evaluate"
        ) from None
