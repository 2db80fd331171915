"""YAML as parameters need it: one mapping of names to plain values, and nothing that YAML does behind one's back."""

import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

LARGEST = 100_000  # bytes of a file; those in params/ have a few hundred
TAG = "tag:yaml.org,2002:"
PLAIN = {TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
NUMBERS = {TAG + "int", TAG + "float"}


class _Loader(yaml.SafeLoader):
    """The safe loader without what would surprise: of two equal names it keeps the last, an alias can stand for a
    billion values, and it reads 010 as 8, 1:30 as 90 and 2024-01-31 as a date."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if event.anchor or getattr(event, "tag", None):
            raise _problem("anchors, aliases and tags (&, *, !) are not read; write the value out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag not in PLAIN:
            kind = node.tag.removeprefix(TAG)
            raise _problem(f"holds a value of kind '{kind}'; if it is meant as text, put it in quotes", node.start_mark)
        if node.tag in NUMBERS:
            return self._number(node)
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag != TAG + "str":
                raise _problem(f"'{_brief(key)}' is no name; put it in quotes if it is one", key.start_mark)
            if key.value in lines:
                first = lines[key.value]
                raise _problem(f"'{_brief(key)}' is given twice, first in line {first}; leave one", key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def _number(self, node: yaml.Node) -> int | float:
        """Raises ValueError for NaN, infinity, and a number that YAML reads otherwise than it looks."""
        try:
            as_it_looks = float(node.value)
            if math.isfinite(as_it_looks):
                value: int | float = super().construct_object(node)
                if float(value) == as_it_looks:
                    return value
        except (ValueError, OverflowError):
            pass
        raise _problem(f"{_brief(node)} is no plain number; write its digits, as 12 or 0.5", node.start_mark)


def read_values(path: Path) -> dict[str, Any]:
    """The names and values of a YAML file.

    Raises ValueError with one line that names the file, and where it can the line in it, for what cannot be read, is no
    single mapping, gives a name twice, or holds anything but text, numbers, true, false, null, lists and mappings.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"is larger than {LARGEST} bytes; no file of parameters is")
        values = _load(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("is no mapping of parameter names to values; write lines of name: value")
        return values
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_value(name: str, text: str) -> Any:
    """A parameter's value as one gives it in a terminal. Raises ValueError, naming the parameter, as `read_values`."""
    try:
        return _load(text)
    except ValueError as error:
        raise ValueError(f"parameter '{name}': {error}") from None


def _load(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = ", ".join(part for part in (error.context, error.problem) if part)
        raise (_problem(why, mark) if mark else ValueError(why)) from None
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _problem(what: str, mark: yaml.Mark) -> ValueError:
    return ValueError(f"line {mark.line + 1}: {what}")


def _brief(node: yaml.Node) -> str:
    """What is written there, on one line."""
    return repr(str(node.value))[1:-1][:40] if isinstance(node, yaml.ScalarNode) else node.tag.removeprefix(TAG)
