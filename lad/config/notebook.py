"""Parameters of a notebook: the values that its parameters cells assign."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from lad.utils.messages import format_value


def notebook_values(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a notebook's parameters cells assign.

    Papermill only warns about a parameter that the notebook does not have. This function returns every name that a
    parameters cell assigns, the notebook's own cell or papermill's, so that validation finds a misspelled name. Call it
    in the first cell after them. The notebook's own is the cell that gives types, as in `epochs: int = 3`; without one,
    every cell that only assigns literals.

    Args:
        namespace: The notebook's variables, `globals()`. The mapping `settings` gives further parameters by name.

    Raises:
        ValueError: If `settings` is not a mapping.
    """
    cells = [_statements(cell) for cell in namespace.get("In", [])]
    typed = [cell for cell in cells if any(isinstance(line, ast.AnnAssign) for line in cell)]
    own = typed or [cell for cell in cells if all(map(_is_plain, cell))]
    injected = [_statements(cell) for cell in namespace.get("In", []) if cell.startswith("# Parameters")]
    names = {name for cell in (*own, *injected) for name in _assigned_names(cell)}
    given = {name: namespace[name] for name in names if name in namespace}
    settings = given.pop("settings", None) or {}
    if not isinstance(settings, dict):
        raise ValueError(
            f"parameter 'settings' = {format_value(settings)} must be a mapping of parameter names to values"
        )
    return {**given, **settings}


def _statements(cell: str) -> list[ast.stmt]:
    try:
        return ast.parse(cell).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # an IPython %magic, or not Python at all
        return []


def _is_plain(line: ast.stmt) -> bool:
    """Return whether a statement assigns a literal to names."""
    is_literal = isinstance(getattr(line, "value", None), ast.Constant | ast.List | ast.Dict | ast.UnaryOp)
    return isinstance(line, ast.Assign) and is_literal and all(isinstance(target, ast.Name) for target in line.targets)


def _assigned_names(cell: Sequence[ast.stmt]) -> set[str]:
    targets: list[ast.expr] = [line.target for line in cell if isinstance(line, ast.AnnAssign)]
    targets += [target for line in cell if isinstance(line, ast.Assign) for target in line.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}
