"""Types of the values in a table's file, checked by pydantic."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from lad.utils.messages import format_value

MAX_LENGTH = 200  # characters of a title or a question


def _one_line(text: str, info: ValidationInfo) -> str:
    if not text.isprintable():
        raise ValueError(f"parameter '{info.field_name}' = {format_value(text)} must be one line of printable text")
    return text


def _is_list(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"parameter '{info.field_name}' = {format_value(value)} must be a list, such as [a, b]")
    return value


Line = Annotated[str, Field(max_length=MAX_LENGTH), AfterValidator(_one_line)]
Title = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH), AfterValidator(_one_line)]
Titles = Annotated[tuple[Title, ...], BeforeValidator(_is_list)]
Percent = Annotated[float, Field(strict=True, gt=0, lt=100)]
