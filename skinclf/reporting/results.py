"""metrics.json on storage ↔ EvaluationResult, and the predictions beside it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from skinclf.errors import RunError
from skinclf.evaluation.predictions import Predictions, predictions_of
from skinclf.evaluation.result import CrossValidation, EvaluationResult
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.files import locate, read_text, write_text
from skinclf.system.retrying import may_pass
from skinclf.system.text import in_one_line

log = logging.getLogger(__name__)

T = TypeVar("T")


def write_result(path: str, result: EvaluationResult) -> None:
    """Write metrics.json."""
    write_text(path, result.to_json())


def read_result(path: str) -> EvaluationResult:
    """Read metrics.json. Raises RunError where it is something else, FileNotFoundError."""
    with _errors_of(path, "an evaluation", "Evaluate anew: skinclf evaluate"):
        return EvaluationResult.from_json(read_text(path))


def readable_result(path: str) -> EvaluationResult | None:
    """The evaluation of metrics.json; None, with a warning, where it is something else."""
    return _readable(read_result, path)


def write_cross_validation(path: str, result: CrossValidation) -> None:
    """Write cross-validation.json."""
    write_text(path, result.to_json())


def read_cross_validation(path: str) -> CrossValidation:
    """Read cross-validation.json. Raises RunError where it is something else."""
    with _errors_of(path, "a cross-validation", "Rerun: skinclf cross-validate"):
        return CrossValidation.from_json(read_text(path))


def readable_cross_validation(path: str) -> CrossValidation | None:
    """The result of cross-validation.json; None, with a warning, where it is something else."""
    return _readable(read_cross_validation, path)


def read_predictions(path: str, taxonomy: Taxonomy) -> Predictions:
    """What `evaluate` has predicted, in the order of image ids. Raises RunError."""
    errors = (OSError, ValueError, KeyError, pa.ArrowException)
    with _errors_of(path, "predictions", "Evaluate anew: skinclf evaluate", errors):
        return predictions_of(read_prediction_table(path).sort_by("image_id"), taxonomy)


def read_prediction_table(path: str) -> pa.Table:
    """The rows of a folder of predictions (predictions_schema), as they were written."""
    file_system, inner = locate(path)
    # No partitioning: a folder in the path may be called dataset=clinic.
    return pq.read_table(inner, filesystem=file_system, partitioning=None)


def _readable(read: Callable[[str], T], path: str) -> T | None:
    try:
        return read(path)
    except RunError as error:
        log.warning("%s", error)
        return None


@contextmanager
def _errors_of(
    path: str,
    kind: str,
    remedy: str,
    errors: tuple[type[Exception], ...] = (ValueError,),  # pydantic's ValidationError is one
) -> Iterator[None]:
    """Raise RunError where reading what is to be of a kind raises one of `errors`."""
    try:
        yield
    except errors as error:
        if may_pass(error):
            raise
        raise RunError(f"{path}: can't be read as {kind}: {in_one_line(error)}. {remedy}") from None
