"""Reading of parameters from files and from the command line."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lad.config.experiment import Parameters, make_parameters
from lad.config.profile_values import refuse_renamed
from lad.config.yaml_file import read_value, read_values
from lad.utils.messages import format_validation_error, is_text_field


def read_parameters(file: Path, changes: Mapping[str, Any] | None = None) -> Parameters:
    """Read parameters from a run's params.json, which holds all of them, or from a YAML file as in params/.

    Args:
        file: A .json or YAML file.
        changes: Values that replace those of a YAML file.

    Raises:
        ValueError: The file cannot be read or a parameter is wrong; names the file.
    """
    is_json = file.suffix == ".json"
    given = {} if is_json else {**read_values(file), **(changes or {})}
    try:
        if not is_json:
            return make_parameters(given)
        if changes:
            raise ValueError("holds all parameters of a run, which cannot be changed; use a YAML file")
        content = json.loads(file.read_text(encoding="utf-8"))
        refuse_renamed(content)
        return Parameters(**content)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise ValueError(f"{file}: {format_validation_error(error)}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: {' '.join(str(error).split())}") from None


def read_changes(pairs: Iterable[tuple[str, str]], model: type[BaseModel] = Parameters) -> dict[str, Any]:
    """Parse the parameters of a command line, `-p NAME VALUE`, as YAML.

    A parameter that is text keeps its spelling where YAML would read a number, a boolean or a date: `-p data 007`.

    Args:
        pairs: Names and texts.
        model: The model whose fields the parameters are.

    Raises:
        ValueError: A value is not valid YAML; names the parameter.
    """
    changes = {}
    for name, text in pairs:
        try:
            value = read_value(name, text)
        except ValueError:
            if not is_text_field(model, name):
                raise
            value = text
        is_respelled = isinstance(value, bool | int | float) and is_text_field(model, name)
        changes[name] = text if is_respelled else value
    return changes
