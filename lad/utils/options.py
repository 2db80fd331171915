"""Hyper-parameters given by name: validated against the fields of a pydantic dataclass."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError

from lad.utils.messages import did_you_mean, format_value

Options = TypeVar("Options")
OPTIONS = ConfigDict(extra="forbid", allow_inf_nan=False)  # of pydantic dataclasses whose fields are hyper-parameters


def build_options(parameter: str, owner: str, options: type[Options], given: Mapping[str, Any]) -> Options:
    """Build a dataclass of hyper-parameters from the given values; fields that are missing keep their defaults.

    Args:
        parameter: The parameter that holds the values, for messages: "assigner_options".
        owner: Assigner or method of the hyper-parameters, for messages: "assigner 'paa'".
        options: A pydantic dataclass.
        given: Values by field name.

    Raises:
        ValueError: A name is unknown or a value out of range; one line that names parameter, option and owner.
    """
    fields = {field.name: field.type for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    names = list(fields)
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names) or f"it has {', '.join(names) or 'no options'}"
            raise ValueError(f"parameter '{parameter}': {format_value(name)} is unknown for {owner}; {hint}")
    for name, value in given.items():
        if isinstance(value, bool) and "bool" not in str(fields[name]):  # pydantic would read true as 1
            raise ValueError(f"parameter '{parameter}': {name} = {value} of {owner} cannot be true or false")
    try:
        return options(**given)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # an error of a check of several options, whose message names them
            problem = str(first["msg"]).removeprefix("Value error, ")
            raise ValueError(f"parameter '{parameter}' of {owner}: {problem}") from None
        name, problem = str(first["loc"][0]), str(first["msg"])
        value = format_value(given[name])
        problem = f"{problem[0].lower()}{problem[1:]}"
        raise ValueError(f"parameter '{parameter}': {name} = {value} of {owner}: {problem}") from None
