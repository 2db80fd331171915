"""Parameters of a notebook: the values that its parameters cells assign."""

import ast
from collections.abc import Mapping
from typing import Any

from lad.utils.messages import format_value


def notebook_values(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a notebook's parameters cells assign.

    Papermill only warns about a parameter that the notebook does not have. This function returns every name that a
    parameters cell assigns, the notebook's own cell or papermill's, so that validation finds a misspelled name. Call it
    in the first cell after them.

    Args:
        namespace: The notebook's variables, `globals()`. The mapping `settings` gives further parameters by name.

    Raises:
        ValueError: If `settings` is not a mapping.
    """
    names = {name for cell in namespace.get("In", []) for name in _assigned_parameters(cell)}
    given = {name: namespace[name] for name in names if name in namespace}
    settings = given.pop("settings", None) or {}
    if not isinstance(settings, dict):
        raise ValueError(
            f"parameter 'settings' = {format_value(settings)} must be a mapping of parameter names to values"
        )
    return {**given, **settings}


def _assigned_parameters(cell: str) -> set[str]:
    """Return the names that a cell assigns if it is papermill's or assigns only literals; else an empty set."""
    try:
        statements = ast.parse(cell).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # an IPython %magic, or not Python at all
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
