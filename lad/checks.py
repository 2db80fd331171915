"""Parameters given by people: collected from a notebook's cells, and what is wrong with them said in one line."""

import ast
import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

MOST_MISTAKES = 10  # told at once

_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother, _brief.maxlong = 2, 200, 200, 60


def notebook_values(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """What a notebook's parameters cells assign, from its variables (`globals()`): to be called in the cell after them.

    Papermill only warns of a name that the notebook does not know. Here every name that a parameters cell assigns, the
    notebook's own or papermill's, is taken, so that the check of the parameters finds a typo. The mapping `settings`
    gives any further parameter by name.
    """
    names = {name for cell in namespace.get("In", []) for name in _assigned_parameters(cell)}
    given = {name: namespace[name] for name in names if name in namespace}
    settings = given.pop("settings", None) or {}
    if not isinstance(settings, dict):
        raise ValueError(f"parameter 'settings' = {shown(settings)} must be a mapping of parameter names to values")
    return {**given, **settings}


def known_values(given: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The given values without those that are None, which means "not given". Raises ValueError for an unknown name."""
    unknown = [name for name in given if name not in model.model_fields]
    if unknown:
        raise ValueError(
            _listed([_unknown(name, model.model_fields) for name in unknown[:MOST_MISTAKES]], len(unknown))
        )
    return {name: value for name, value in given.items() if value is not None}


def explain(error: ValidationError) -> str:
    """One line that names each parameter that is wrong, its value, and what is right."""
    return _listed([_explain(detail) for detail in error.errors()[:MOST_MISTAKES]], error.error_count())


def not_one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """The line that says so, with the nearest choice."""
    nearest = difflib.get_close_matches(shown(value).strip("'"), list(choices), n=1, cutoff=0.5)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return f"parameter '{name}' = {shown(value)} is not one of {', '.join(choices)}{hint}"


def shown(value: Any) -> str:
    """A value for a message: its repr on one line and, where that is long or nested deeply, in parts."""
    try:
        return " ".join(_brief.repr(value).split())
    except ValueError:  # Python does not print a number of thousands of digits
        return f"<{type(value).__name__}, too long to print>"


def absolute_path(name: str, value: Any) -> Path:
    """The path that a person gave for a parameter, from the current folder, ~ included.

    Raises ValueError for what cannot be one: no text, empty, of an unknown user, with a null byte, a name too long.
    """
    if not isinstance(value, str | Path | int) or not str(value):
        raise ValueError(f"parameter '{name}' = {shown(value)} is no path")
    try:
        path = Path(str(value)).expanduser().resolve()
        path.exists()
    except (ValueError, RuntimeError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"parameter '{name}' = {shown(value)} is no path ({why})") from None
    return path


def project_folder() -> Path:
    """The checkout that this package is installed from, else the current folder."""
    checkout = Path(__file__).parents[1]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def _assigned_parameters(cell: str) -> set[str]:
    """Names that a parameters cell assigns: one of papermill's, or any that does nothing but name plain values."""
    try:
        statements = ast.parse(cell).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # %magic of IPython, or what no parser reads
        return set()
    names = set()
    for statement in statements:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        is_plain = isinstance(getattr(statement, "value", None), ast.Constant | ast.List | ast.Dict | ast.UnaryOp)
        if not all(isinstance(target, ast.Name) for target in targets):
            return set()
        if not is_plain and not cell.startswith("# Parameters"):  # float('nan') is a call
            return set()
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _listed(mistakes: Sequence[str], number: int) -> str:
    """The first mistakes on one line, and how many more there are of `number`."""
    rest = number - len(mistakes)
    return "; ".join(mistakes) + (f"; and {rest} more" if rest else "")


def _explain(detail: Any) -> str:
    if not detail["loc"] or detail["type"] == "value_error":  # of our own, which names it
        return str(detail["msg"]).removeprefix("Value error, ")
    name = shown(".".join(str(part) for part in detail["loc"])).strip("'")
    if detail["type"] == "missing":
        return f"parameter '{name}' is missing"
    if detail["type"] == "literal_error":
        choices = [choice.strip(" '") for choice in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return not_one_of(name, detail["input"], choices)
    return f"parameter '{name}' = {shown(detail['input'])}: {str(detail['msg']).lower()}"


def _unknown(name: Any, names: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(shown(name).strip("'"), list(names), n=1, cutoff=0.5)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else f"; known are {', '.join(names)}"
    return f"parameter {shown(name)} is unknown{hint}"
