"""Docstrings as they are written, plain text with `code`: signs that reStructuredText would interpret are escaped."""

import re
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx

SIGNS = re.compile(r"(?P<bullet>^ *\* )|(?P<sign>[*|`])", re.MULTILINE)
CODE = re.compile(r"(``[^`]*``|`[^`]*`)")


def escape(docstring: str) -> str:
    """Escape `*`, `|` and `_` at the end of words outside of code; an indented block behind a colon is code.

    A code span whose end is on the next line is joined to it by the pattern; a lone backtick is escaped.
    """
    pieces = CODE.split(docstring)
    for index in range(0, len(pieces), 2):
        plain = re.sub(r"(?<=\w)_(?!\w)", r"\\_", pieces[index])
        pieces[index] = SIGNS.sub(lambda found: found["bullet"] or f"\\{found['sign']}", plain)
    # "`Sample`s": code that a letter follows needs a separator, which is not shown.
    text = "".join(f"{piece}\\ " if index % 2 else piece for index, piece in enumerate(pieces))
    text = re.sub(r"\\ (?=[\s.,;:!?)\]}]|$)", "", text)
    return re.sub(r"(?<=\w):\n\n(?= {4}\S)", "::\n\n", text)


def process(app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    """Rewrite the lines of a docstring in place."""
    lines[:] = escape("\n".join(lines)).split("\n")


def shorten_signature(
    app: Sphinx, what: str, name: str, subject: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Leave out the parameters of pydantic's models, which are their documented fields with all constraints."""
    is_model = isinstance(subject, type) and issubclass(subject, BaseModel)
    return ("", None) if is_model else (signature, returns)


def skip_fields(app: Sphinx, what: str, name: str, subject: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of classes, which the docstring of the class describes."""
    is_field = what == "class" and not callable(subject) and not isinstance(subject, property | cached_property)
    return True if is_field else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Rewrite docstrings before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-skip-member", skip_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
