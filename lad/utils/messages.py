"""Parameters given by people: collected from a notebook's cells, and what is wrong with them said in one line."""

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

MAX_MISTAKES = 10  # told at once

_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother, _brief.maxlong = 2, 200, 200, 60


def known_values(given: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The given values without those that are None, which means "not given". Raises ValueError for an unknown name."""
    unknown = [name for name in given if name not in model.model_fields]
    if unknown:
        raise ValueError(_listed([_unknown(name, model.model_fields) for name in unknown[:MAX_MISTAKES]], len(unknown)))
    return {name: value for name, value in given.items() if value is not None}


def explain(error: ValidationError) -> str:
    """One line that names each parameter that is wrong, its value, and what is right."""
    return _listed([_explain(detail) for detail in error.errors()[:MAX_MISTAKES]], error.error_count())


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


MAX_NAME, MAX_LINE = 300, 1000  # of what messages show


def named(path: Path) -> str:
    """A file's name for a message."""
    return one_line(str(path), MAX_NAME)


def one_line(text: str, most: int = MAX_LINE) -> str:
    """A message on one line that any terminal can show: what is not printable is escaped, the middle of a very long one
    left out. File names of strangers may hold line breaks, terminal codes and what is not Unicode."""
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-most // 2 :]}"
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
