"""Provenance of an executed notebook: its parameters, the versions of packages, when it ran and for how long."""

import ast
import importlib.metadata
import io
import platform
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import lad
from lad.utils.progress import format_duration

RECORDED_PACKAGES = ("torch", "torchvision", "pycocotools", "papermill", "nbconvert")
VERSIONS_TYPE = "application/vnd.lad.versions+json"  # MIME type of an output that no front end shows
PARAMETERS_TAG, INJECTED_TAG = "parameters", "injected-parameters"  # papermill's tags


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook.

    Attributes:
        name: Name of the variable.
        value: Source text of its value.
        explanation: Comment behind it.
        is_given: Whether papermill set it for this execution; otherwise it is the notebook's default.
    """

    name: str
    value: str
    explanation: str
    is_given: bool


@dataclass(frozen=True)
class Version:
    """The version of one package.

    Attributes:
        name: Name of the package.
        number: Its version.
        is_recorded: Whether the notebook recorded it when it ran; otherwise it is the version installed now.
    """

    name: str
    number: str
    is_recorded: bool


def record_versions() -> None:
    """Store the installed versions in the output of the calling notebook cell, for its HTML report."""
    from IPython.display import display

    versions = _installed_versions()
    text = ", ".join(f"{name} {number}" for name, number in versions.items())
    display({"text/plain": text, VERSIONS_TYPE: versions}, raw=True)


def parameters_of(cells: Sequence[Mapping[str, Any]]) -> list[Parameter]:
    """Return a notebook's parameters, each with papermill's injected value or its default, and with its comment."""
    parameters: dict[str, Parameter] = {}
    for tag in (PARAMETERS_TAG, INJECTED_TAG):
        for cell in cells:
            if tag in tags_of(cell):
                for name, (value, comment) in _assignments(cell["source"]).items():
                    explanation = parameters[name].explanation if name in parameters else ""
                    parameters[name] = Parameter(name, value, comment or explanation, is_given=tag == INJECTED_TAG)
    return list(parameters.values())


def tags_of(cell: Mapping[str, Any]) -> Sequence[str]:
    """Return the tags of a notebook cell."""
    return cell["metadata"].get("tags", ())


def versions_of(notebook: Mapping[str, Any]) -> list[Version]:
    """Return the versions of Python and the main packages.

    A version is the one that the notebook recorded (`record_versions`, papermill, the kernel), else the installed one.
    """
    recorded = {}
    if number := notebook["metadata"].get("language_info", {}).get("version"):
        recorded["python"] = number
    if number := notebook["metadata"].get("papermill", {}).get("version"):
        recorded["papermill"] = number
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            recorded |= output.get("data", {}).get(VERSIONS_TYPE, {})
    return [
        Version(name, recorded.get(name, number), name in recorded) for name, number in _installed_versions().items()
    ]


def execution_summary(notebook: Mapping[str, Any]) -> str:
    """Return when the notebook was executed and how long it took, as far as papermill recorded it."""
    record = notebook["metadata"].get("papermill", {})
    if not record.get("start_time"):
        return "execution time not recorded"
    start = f"{datetime.fromisoformat(record['start_time']).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if record.get("duration") is None:
        return f"started {start}, not finished"
    duration = format_duration(record["duration"])
    return f"executed {start}, {'failed after' if record.get('exception') else 'finished in'} {duration}"


def _installed_versions() -> dict[str, str]:
    return {"python": platform.python_version(), "lad": lad.__version__} | {
        name: _version(name) for name in RECORDED_PACKAGES
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _assignments(source: str) -> dict[str, tuple[str, str]]:
    """Return value and trailing comment of every name that a cell assigns; nothing for a cell with magics."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    assignments = {}
    for statement in statements:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            value = ast.get_source_segment(source, statement.value) or ""
            assignments[ast.unparse(target)] = (value, comments.get(statement.end_lineno or 0, ""))
    return assignments
