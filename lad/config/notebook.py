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
    names = {name for cell in namespace.get("In", []) for name in _parameters_in(cell)}
    given = {name: namespace[name] for name in names if name in namespace}
    settings = given.pop("settings", None) or {}
    if not isinstance(settings, dict):
        raise ValueError(
            f"parameter 'settings' = {format_value(settings)} must be a mapping of parameter names to values"
        )
    return {**given, **settings}


def _parameters_in(cell: str) -> set[str]:
    """Return the names that a cell assigns if it is papermill's or gives types, as in `epochs: int = 3`; else none."""
    try:
        statements = ast.parse(cell).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # an IPython %magic, or not Python at all
        return set()
    if not cell.startswith("# Parameters") and not any(isinstance(line, ast.AnnAssign) for line in statements):
        return set()
    assignments = [line for line in statements if isinstance(line, ast.Assign | ast.AnnAssign)]
    targets = [target for line in assignments for target in getattr(line, "targets", [getattr(line, "target", None)])]
    return {target.id for target in targets if isinstance(target, ast.Name)}
