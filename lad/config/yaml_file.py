"""Strict YAML for parameter files: one mapping of names to plain values, without YAML's surprising conversions."""

import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 100_000  # of a file; those in params/ have a few hundred
TAG = "tag:yaml.org,2002:"
PLAIN_TAGS = {TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
NUMBER_TAGS = {TAG + "int", TAG + "float"}


class _Loader(yaml.SafeLoader):
    """Safe loader that rejects YAML's surprising features.

    PyYAML's safe loader keeps the last of two equal keys, expands aliases without limit ("billion laughs"), and reads
    010 as 8, 1:30 as 90 and 2024-01-31 as a date.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if event.anchor or getattr(event, "tag", None):
            raise _problem(
                "anchors, aliases and tags (&, *, !) are not supported; write out the value", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag not in PLAIN_TAGS:
            kind = node.tag.removeprefix(TAG)
            raise _problem(
                f"values of type '{kind}' are not supported; if it is text, put it in quotes", node.start_mark
            )
        if node.tag in NUMBER_TAGS:
            return self._number(node)
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag != TAG + "str":
                raise _problem(f"key '{_brief(key)}' is not text; put it in quotes if it is a name", key.start_mark)
            if key.value in lines:
                first = lines[key.value]
                raise _problem(
                    f"duplicate key '{_brief(key)}', first given in line {first}; remove one of them", key.start_mark
                )
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def _number(self, node: yaml.Node) -> int | float:
        """Return a finite number whose value is what its digits show; raise ValueError for any other."""
        try:
            shown = float(node.value)
            if math.isfinite(shown):
                value: int | float = super().construct_object(node)
                if float(value) == shown:
                    return value
        except (ValueError, OverflowError):
            pass
        raise _problem(f"{_brief(node)} is not a plain decimal number; write one such as 12 or 0.5", node.start_mark)


def read_values(path: Path) -> dict[str, Any]:
    """Read the names and values of a YAML file.

    Raises:
        ValueError: If the file cannot be read, is not a single mapping, gives a name twice, or holds anything but text,
            numbers, true, false, null, lists and mappings; one line that names the file and, where known, the line.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes, the limit for parameter files")
        values = _load(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("must be a mapping of parameter names to values; write lines of name: value")
        return values
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_value(name: str, text: str) -> Any:
    """Parse the value of a parameter given on a command line; raise ValueError that names the parameter if invalid."""
    try:
        return _load(text)
    except ValueError as error:
        raise ValueError(f"parameter '{name}': {error}") from None


def _load(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  _Loader derives from yaml.SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise (_problem(reason, mark) if mark else ValueError(reason)) from None
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _problem(message: str, mark: yaml.Mark) -> ValueError:
    return ValueError(f"line {mark.line + 1}: {message}")


def _brief(node: yaml.Node) -> str:
    """Return at most 40 characters of a scalar on one line, or the type of any other node."""
    return repr(str(node.value))[1:-1][:40] if isinstance(node, yaml.ScalarNode) else node.tag.removeprefix(TAG)
