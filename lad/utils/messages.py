"""Formatting of values, file names and validation errors as messages of one printable line."""

import difflib
import reprlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

MAX_LISTED_ERRORS = 10  # in one message
MAX_PATH_LENGTH, MAX_MESSAGE_LENGTH = 300, 1000  # characters

_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother, _brief.maxlong = 2, 200, 200, 60


def given_values(given: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Return the given values without those that are None, which means "not given".

    Raises:
        ValueError: A name is not a field of `model`; names the nearest field. Or a text field has a number or boolean.
    """
    refuse_unknown_names(given, model.model_fields)
    for name, value in given.items():
        if isinstance(value, bool | int | float) and is_text_field(model, name):
            raise ValueError(_not_text_message(name, value))
    return {name: value for name, value in given.items() if value is not None}


def refuse_unknown_names(given: Iterable[Any], names: Collection[str]) -> None:
    """Raise ValueError for names that are not among `names`; the message gives the nearest of them."""
    unknown = [name for name in given if name not in names]
    if unknown:
        errors = [_unknown_name_message(name, names) for name in unknown[:MAX_LISTED_ERRORS]]
        raise ValueError(_join_errors(errors, len(unknown)))


def is_text_field(model: type[BaseModel], name: str) -> bool:
    """Return whether a model has a field of this name that is text or a path, and nothing else but None."""
    if name not in model.model_fields:
        return False
    annotation = model.model_fields[name].annotation
    kinds = set(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else {annotation}
    return kinds - {NoneType} <= {str, Path}


def format_validation_error(error: ValidationError) -> str:
    """Return one line that names each wrong parameter, its value and what is allowed."""
    return _join_errors([_format_error(detail) for detail in error.errors()[:MAX_LISTED_ERRORS]], error.error_count())


def invalid_choice_message(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return the message for a value that is not one of a parameter's choices; it suggests the nearest choice."""
    hint = did_you_mean(value, choices)
    return f"parameter '{name}' = {format_value(value)} is not one of {', '.join(choices)}{hint and f'; {hint}'}"


def did_you_mean(value: Any, choices: Iterable[str]) -> str:
    """Return a question that suggests the choice nearest to a value: "did you mean 'r50'?"; empty if none is near."""
    nearest = difflib.get_close_matches(format_value(value).strip("'"), list(choices), n=1, cutoff=0.5)
    return f"did you mean '{nearest[0]}'?" if nearest else ""


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: "1 epoch", "1,024 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_value(value: Any) -> str:
    """Return the repr of a value on one line, shortened where it is long or deeply nested."""
    try:
        return " ".join(_brief.repr(value).split())
    except ValueError:  # Python refuses to convert integers of thousands of digits
        return f"<{type(value).__name__}, too long to print>"


def format_path(path: Path) -> str:
    """Return a file's path on one printable line, shortened in the middle where it is long."""
    return one_line(str(path), MAX_PATH_LENGTH)


def one_line(text: str, max_length: int = MAX_MESSAGE_LENGTH) -> str:
    """Return a text as one printable line: unprintable characters escaped, the middle of a very long text omitted.

    File names from other people's data may hold line breaks, terminal control codes and invalid Unicode.
    """
    if len(text) > max_length:
        text = f"{text[: max_length // 2]} … {text[-max_length // 2 :]}"
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _join_errors(errors: Sequence[str], count: int) -> str:
    """Join the first errors in one line, and add how many of `count` are not shown."""
    rest = count - len(errors)
    return "; ".join(errors) + (f"; and {rest} more" if rest else "")


def _format_error(detail: Any) -> str:
    if not detail["loc"] or detail["type"] == "value_error":  # raised by our validators, which name the parameter
        return str(detail["msg"]).removeprefix("Value error, ")
    name = format_value(".".join(str(part) for part in detail["loc"])).strip("'")
    if detail["type"] == "missing":
        return f"parameter '{name}' is missing"
    if detail["type"] == "literal_error":
        choices = [choice.strip(" '") for choice in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return invalid_choice_message(name, detail["input"], choices)
    return f"parameter '{name}' = {format_value(detail['input'])}: {str(detail['msg']).lower()}"


def _not_text_message(name: str, value: bool | int | float) -> str:
    """Return the message for a number or boolean that is given for a text; its spelling may be lost (007 is 7)."""
    kind = "boolean" if isinstance(value, bool) else "number"
    return (
        f"parameter '{name}' is the {kind} {format_value(value)}, but must be text; papermill's -p turns text that "
        f"looks like a {kind} into one: give it as text by -r {name} VALUE, or in quotes in YAML"
    )


def _unknown_name_message(name: Any, names: Iterable[str]) -> str:
    hint = did_you_mean(name, names) or f"known are {', '.join(names)}"
    return f"parameter {format_value(name)} is unknown; {hint}"
