"""What all groups of settings have in common."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationInfo, field_validator


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are not expected here")
    return value


Number = Annotated[float, BeforeValidator(_no_truth)]
"""A number of a table: of itself, pydantic would take true for 1."""


class Settings(BaseModel):
    """Settings that take true and false where that is what is asked for alone."""

    @field_validator("*", mode="before")
    @classmethod
    def _truths_are_no_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        wanted = cls.model_fields[str(info.field_name)].annotation
        return value if wanted is bool else _no_truth(value)
