"""metrics.json on storage ↔ EvaluationResult, and the predictions beside it."""

import pyarrow as pa
import pyarrow.parquet as pq

from skinclf.errors import RunError
from skinclf.evaluation.cross_validation import CrossValidation
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


def write_cross_validation(path: str, result: CrossValidation) -> None:
    """Write cross-validation.json."""
    write_text(path, result.to_json())


def read_cross_validation(path: str) -> CrossValidation:
    """Read cross-validation.json. Raises RunError where it is something else."""
    try:
        return CrossValidation.from_json(read_text(path))
    except ValueError as error:  # pydantic's ValidationError is one
        raise RunError(
            f"{path}: can't be read as a cross-validation: {in_one_line(error)}. Rerun: "
            f"skinclf cross-validate"
        ) from None


def read_predictions(path: str, taxonomy: Taxonomy) -> Predictions:
    """What `evaluate` has predicted, in the order of image ids. Raises RunError."""
    try:
        return predictions_of(read_prediction_table(path), taxonomy)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise RunError(
            f"{path}: can't be read as predictions: {in_one_line(error)}. Evaluate anew: "
            f"skinclf evaluate"
        ) from None


def read_prediction_table(path: str) -> pa.Table:
    """The same as a table: predictions_schema."""
    file_system, inner = locate(path)
    return pq.read_table(inner, filesystem=file_system, partitioning=None).sort_by("image_id")
