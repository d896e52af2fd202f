"""metrics.json on storage ↔ EvaluationResult."""

from skinclf.errors import RunError
from skinclf.evaluation.result import EvaluationResult
from skinclf.storage.files import read_text, write_text
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
