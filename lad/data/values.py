"""What a value of an instances JSON means: one reading for training, evaluation and the validator.

Exporters write numbers as text, whole numbers with decimals, and null where a field is missing. A reader returns the
value as training and evaluation use it, and any value that it cannot read unchanged, for the checks to refuse.
"""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

NUMBER = re.compile(r"\s*[+-]?\d{1,40}(\.\d{0,40})?([eE][+-]?\d{1,3})?\s*", re.ASCII)
MAX_WHOLE = 2**53  # whole numbers up to here have a float of their own


def read_number(value: Any) -> Any:
    """Return the number that a text gives in decimal notation; any other value unchanged."""
    if not isinstance(value, str) or NUMBER.fullmatch(value) is None:
        return value
    return int(value) if value.strip().lstrip("+-").isdigit() else float(value)


def is_text_number(value: Any) -> bool:
    """Return whether a value is a text that gives a number."""
    return read_number(value) is not value


def read_integer(value: Any) -> Any:
    """Return the integer that a text or a float gives without a fraction; any other value unchanged."""
    number = read_number(value)
    if isinstance(number, float) and number.is_integer() and abs(number) <= MAX_WHOLE:
        return int(number)
    return number if type(number) is int else value


def read_box(value: Any) -> Any:
    """Return a list with the numbers that its texts give; any other value unchanged."""
    return [read_number(side) for side in value] if isinstance(value, list) else value


def read_crowd(value: Any) -> Any:
    """Return 0 for a missing value, a boolean as 0 or 1, and the number that a text gives; others unchanged."""
    if value is None:
        return 0
    return int(value) if isinstance(value, bool) else read_number(value)


def is_crowd_flag(value: Any) -> bool:
    """Return whether a value that was read says whether an annotation is a crowd: any finite number."""
    return is_finite(value)


def is_finite(value: Any) -> bool:
    """Return whether a value is a finite number, within the range of a float."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def is_box(bbox: Any) -> bool:
    """Return whether a value that was read is a list of four finite numbers."""
    return isinstance(bbox, list) and len(bbox) == 4 and all(map(is_finite, bbox))


def is_area(value: Any) -> bool:
    """Return whether a value that was read is an area in square pixels, not negative."""
    return is_finite(value) and not isinstance(value, bool) and value >= 0


def area_of(value: Any, bbox: list[float]) -> float:
    """Return an annotation's area, or that of its box [x, y, width, height] where the value is not an area."""
    return value if is_area(value) else bbox[2] * bbox[3]


READERS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "images": {"id": read_integer, "width": read_integer, "height": read_integer},
    "categories": {"id": read_integer},
    "annotations": {
        "image_id": read_integer,
        "category_id": read_integer,
        "bbox": read_box,
        "iscrowd": read_crowd,
        "area": read_number,
    },
}


def is_rewritten(field: str, before: Any, after: Any) -> bool:
    """Return whether reading changed a value in a way to report: not a missing or boolean crowd flag."""
    if field == "iscrowd" and (before is None or isinstance(before, bool)):
        return False
    if field == "bbox":
        return any(
            isinstance(side, str) and not isinstance(read, str) for side, read in zip(before, after, strict=True)
        )
    return type(before) is not type(after)
