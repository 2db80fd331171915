"""Checked access to the fields of an instances JSON, whatever their type: ids, sizes, boxes, segmentations."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from lad.data.file_names import stays_inside

Entry = tuple[int, dict[str, Any]]  # index in its list, content


def is_int64(value: Any) -> TypeGuard[int]:
    """Return whether a value is an integer of at most 64 bits, and not a boolean."""
    return type(value) is int and value.bit_length() <= 63


def is_inside_folder(name: Any) -> TypeGuard[str]:
    """Return whether a file_name stays inside the images folder, links aside."""
    return isinstance(name, str) and stays_inside(name)


def category_name(category: Mapping[str, Any]) -> str:
    """Return a category's name, or its id if it has none."""
    name = category.get("name")
    try:
        return str(category.get("id") if name is None else name)
    except RecursionError:  # from a deeply nested list
        return "?"


def image_size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (height, width), None if they are not positive integers."""
    height, width = image.get("height"), image.get("width")
    return (height, width) if is_int64(height) and is_int64(width) and min(height, width) >= 1 else None


def image_sizes(images: Iterable[Mapping[str, Any]]) -> dict[int, tuple[int, int] | None]:
    """Return (height, width) by image id, None where unknown; the first of images with the same id counts."""
    sizes: dict[int, tuple[int, int] | None] = {}
    for image in images:
        if is_int64(image.get("id")):
            sizes.setdefault(image["id"], image_size(image))
    return sizes


def corner_boxes(boxes: Sequence[Sequence[float]]) -> np.ndarray:
    """Convert COCO's [x, y, width, height] to [x0, y0, x1, y1], [K, 4] float64."""
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    with np.errstate(over="ignore"):
        corners[:, 2:] += corners[:, :2]
    return corners


def clip_boxes(corners: np.ndarray, hw: np.ndarray) -> np.ndarray:
    """Clip boxes [K, 4] to images of these (height, width) [K, 2]."""
    return corners.clip(0, np.tile(hw[:, ::-1], 2))


def has_area(corners: np.ndarray) -> np.ndarray:
    """Return which boxes [K, 4] have an area after rounding to float32, as in training, [K] bool."""
    with np.errstate(over="ignore"):
        corners = corners.astype(np.float32)
    return (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])


def segmentation_problem(segmentation: Any, hw: tuple[int, int] | None) -> str | None:
    """Return what is wrong with polygons or a run-length encoded mask, None if nothing is.

    Args:
        segmentation: Field of an annotation.
        hw: (height, width) of its image, None if unknown.
    """
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, list):
        are_valid = all(map(_is_polygon, segmentation))
        return None if are_valid else "whose polygons do not all have three or more finite points"
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2 or not all(is_int64(side) and side >= 1 for side in size):
        return "that is neither polygons nor run lengths with a size"
    if hw is not None and tuple(size) != hw:
        return f"of {size[1]} x {size[0]} pixels, unlike its image of {hw[1]} x {hw[0]}"
    runs = _run_lengths(segmentation.get("counts"))
    if runs is None:
        return "whose run lengths are malformed"
    if sum(runs) != size[0] * size[1]:
        return f"whose run lengths add up to {sum(runs):,} pixels instead of {size[0] * size[1]:,}"
    return None


def _is_polygon(points: Any) -> bool:
    try:
        return (
            isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0 and all(map(math.isfinite, points))
        )
    except (TypeError, OverflowError):
        return False


def _run_lengths(counts: Any) -> list[int] | None:
    """Return the run lengths of a mask, given as numbers or in the COCO API's encoding; None if malformed."""
    runs = _decode_runs(counts) if isinstance(counts, str) else counts
    return runs if isinstance(runs, list) and all(is_int64(run) and run >= 0 for run in runs) else None


def _decode_runs(text: str) -> list[int] | None:
    """Decode the COCO API's run lengths; None if malformed.

    A character is six bits: five of a number, lowest first, and whether more follow. From the third number on, each is
    the difference to the last but one, and its highest bit is the sign.
    """
    runs: list[int] = []
    value, bits = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or bits > 60:
            return None
        value |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << bits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, bits = 0, 0
    return runs if bits == 0 else None
