"""Class names as labels in figures: on one line, short, distinguishable, and in characters that can be drawn."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from lad.utils.fonts import missing_characters
from lad.utils.messages import one_line
from lad.utils.progress import log

MAX_LABEL_LENGTH = 20  # letters; Chinese, Japanese and Korean ones count twice, as they are twice as wide
MAX_LISTED_CHARACTERS = 20  # in the message about missing fonts
ELLIPSIS = "…"


def class_labels(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return a label for each class, by default its name.

    A long name is shortened, and gets the number of its class if that makes it equal to another. A name without
    letters, or with characters that no installed font has, becomes "class" and its number; one log line names the
    characters.
    """
    return _class_labels(tuple(class_names))


def shorten(text: str, max_length: int = MAX_LABEL_LENGTH) -> str:
    """Return a text of at most `max_length` letters, the end replaced by an ellipsis where it is longer."""
    if _length(text) <= max_length:
        return text
    while _length(text) > max_length - 1:
        text = text[:-1]
    return text.rstrip() + ELLIPSIS


@lru_cache(maxsize=16)  # so that the message appears once
def _class_labels(class_names: tuple[str, ...]) -> tuple[str, ...]:
    names = [_visible(name) for name in class_names]
    missing = missing_characters("".join(names))
    if missing:
        listed = missing[:MAX_LISTED_CHARACTERS] + (ELLIPSIS if len(missing) > MAX_LISTED_CHARACTERS else "")
        count = sum(not set(missing).isdisjoint(name) for name in names)
        log(
            f"{count} of {len(names)} class names cannot be drawn: no installed font has {listed}; figures show the "
            "classes' numbers. Install a font that has them, e.g. Noto Sans CJK for Chinese, Japanese and Korean"
        )
    readable = [
        name if name and set(missing).isdisjoint(name) else f"class {label}" for label, name in enumerate(names)
    ]
    count_of = Counter(map(shorten, readable))
    labels: dict[str, None] = {}  # an ordered set
    for label, name in enumerate(readable):
        number = f" ({label})"
        text = shorten(name)
        if count_of[text] > 1:
            text = shorten(name, MAX_LABEL_LENGTH - len(number)) + number
        while text in labels:  # of a class whose own name ends in such a number
            text += number
        labels[text] = None
    return tuple(labels)


def _visible(name: str) -> str:
    """Return a name on one line, without characters that only control how others are drawn."""
    letters = (c for c in name if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    return one_line(" ".join("".join(letters).split()))


def _length(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
