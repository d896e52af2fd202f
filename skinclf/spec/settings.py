"""What all groups of settings have in common."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationInfo, field_validator


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected")
    return value


Number = Annotated[float, BeforeValidator(_no_boolean)]
"""A number in a table or list. Pydantic itself would take true for 1."""


class Settings(BaseModel):
    """Settings whose numbers can't be true or false."""

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_no_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        wanted = cls.model_fields[str(info.field_name)].annotation
        return _no_boolean(value) if wanted in (int, float) else value
