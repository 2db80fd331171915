"""Where the results of an executed notebook came from: its parameters, the versions it ran with, when and how long."""

import ast
import importlib.metadata
import io
import platform
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

VERSIONS_OF = ("lad", "torch", "torchvision", "pycocotools", "papermill", "nbconvert")
VERSIONS_TYPE = "application/vnd.lad.versions+json"  # an output that people need not see
PARAMETERS_TAG, INJECTED_TAG = "parameters", "injected-parameters"  # papermill's


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters. value: as it stands in the cell. is_given: for this execution, by papermill,
    rather than the notebook's own default."""

    name: str
    value: str
    meaning: str
    is_given: bool


@dataclass(frozen=True)
class Version:
    """Of one package. is_recorded: by the notebook when it ran; otherwise it is that of this moment."""

    name: str
    number: str
    is_recorded: bool


def record_versions() -> None:
    """Keep the versions of this moment in the notebook that calls this, for the page that `lad.report.cli` makes of it."""
    from IPython.display import display

    versions = {"python": platform.python_version(), **{name: _version(name) for name in VERSIONS_OF}}
    text = ", ".join(f"{name} {number}" for name, number in versions.items())
    display({"text/plain": text, VERSIONS_TYPE: versions}, raw=True)


def parameters_of(cells: Sequence[Mapping[str, Any]]) -> list[Parameter]:
    """What the parameters cells assign, an injected value in place of the default, each with its trailing comment."""
    found: dict[str, Parameter] = {}
    for tag in (PARAMETERS_TAG, INJECTED_TAG):
        for cell in cells:
            if tag in tags_of(cell):
                for name, (value, comment) in _assignments(cell["source"]).items():
                    meaning = found[name].meaning if name in found else ""
                    found[name] = Parameter(name, value, comment or meaning, is_given=tag == INJECTED_TAG)
    return list(found.values())


def tags_of(cell: Mapping[str, Any]) -> Sequence[str]:
    return cell["metadata"].get("tags", ())


def versions_of(notebook: Mapping[str, Any]) -> list[Version]:
    """Of Python and the packages that matter: as recorded in the notebook (`record_versions`, papermill, the kernel),
    else those of now."""
    recorded = {}
    if number := notebook["metadata"].get("language_info", {}).get("version"):
        recorded["python"] = number
    if number := notebook["metadata"].get("papermill", {}).get("version"):
        recorded["papermill"] = number
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            recorded |= output.get("data", {}).get(VERSIONS_TYPE, {})
    now = {"python": platform.python_version(), **{name: _version(name) for name in VERSIONS_OF}}
    return [Version(name, recorded.get(name, number), name in recorded) for name, number in now.items()]


def execution_of(notebook: Mapping[str, Any]) -> str:
    """When the notebook was executed and how long it took, as far as papermill wrote it down."""
    written = notebook["metadata"].get("papermill", {})
    if not written.get("start_time"):
        return "executed at a time that it does not say"
    started = datetime.fromisoformat(written["start_time"]).astimezone(UTC)
    if written.get("duration") is None:
        return f"begun {started:%Y-%m-%d %H:%M} UTC and not finished"
    ended = "stopped by an error after" if written.get("exception") else "which took"
    return f"executed {started:%Y-%m-%d %H:%M} UTC, {ended} {_duration(written['duration'])}"


def _assignments(source: str) -> dict[str, tuple[str, str]]:
    """The value and the trailing comment of every name that a cell assigns; nothing for a cell with magics."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    found = {}
    for statement in statements:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            value = ast.get_source_segment(source, statement.value) or ""
            found[ast.unparse(target)] = (value, comments.get(statement.end_lineno or 0, ""))
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
