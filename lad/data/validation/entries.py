"""What an entry of an instances JSON says, whatever was written there: whether it is an id, a size, a box, a mask."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

Entry = tuple[int, dict[str, Any]]  # its place in its list, and its content


def is_whole(value: Any) -> TypeGuard[int]:
    return type(value) is int and value.bit_length() <= 63


def is_inside(name: Any) -> TypeGuard[str]:
    """Whether a file_name leads to somewhere in the images folder, links aside."""
    return isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts


def is_box(bbox: Any) -> TypeGuard[list[float]]:
    return isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_finite, bbox))


def category_name(category: Mapping[str, Any]) -> str:
    name = category.get("name")
    try:
        return str(category.get("id") if name is None else name)
    except RecursionError:  # a list of lists of lists …
        return "?"


def image_size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width), None if they are not whole and positive."""
    height, width = image.get("height"), image.get("width")
    return (height, width) if is_whole(height) and is_whole(width) and min(height, width) >= 1 else None


def image_sizes(images: Iterable[Mapping[str, Any]]) -> dict[int, tuple[int, int] | None]:
    """(height, width) by image id, None where it is not known; of images with the same id the first one's."""
    sizes: dict[int, tuple[int, int] | None] = {}
    for image in images:
        if is_whole(image.get("id")):
            sizes.setdefault(image["id"], image_size(image))
    return sizes


def corner_boxes(boxes: Sequence[Sequence[float]]) -> np.ndarray:
    """COCO's [x, y, width, height] as [x0, y0, x1, y1], [K, 4] float64."""
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    with np.errstate(over="ignore"):
        corners[:, 2:] += corners[:, :2]
    return corners


def clip_boxes(corners: np.ndarray, hw: np.ndarray) -> np.ndarray:
    """Boxes [K, 4] clipped to images of these (height, width) [K, 2]."""
    return corners.clip(0, np.tile(hw[:, ::-1], 2))


def have_area(corners: np.ndarray) -> np.ndarray:
    """[K], whether boxes [K, 4] do, also once they are float32, as in training."""
    with np.errstate(over="ignore"):
        corners = corners.astype(np.float32)
    return (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])


def segmentation_problem(segmentation: Any, hw: tuple[int, int] | None) -> str | None:
    """What is wrong with polygons, or with a run-length encoded mask, of an image of this (height, width)."""
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, list):
        return None if all(map(_is_polygon, segmentation)) else "whose polygons are not of three or more finite points"
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2 or not all(is_whole(side) and side >= 1 for side in size):
        return "that is neither polygons nor run lengths with a size"
    if hw is not None and tuple(size) != hw:
        return f"of {size[1]} x {size[0]} pixels, unlike its image of {hw[1]} x {hw[0]}"
    runs = _run_lengths(segmentation.get("counts"))
    if runs is None:
        return "whose run lengths are malformed"
    if sum(runs) != size[0] * size[1]:
        return f"whose run lengths add up to {sum(runs):,} pixels instead of {size[0] * size[1]:,}"
    return None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _is_polygon(points: Any) -> bool:
    try:
        return (
            isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0 and all(map(math.isfinite, points))
        )
    except (TypeError, OverflowError):
        return False


def _run_lengths(counts: Any) -> list[int] | None:
    """Those of a mask, as they are or in the COCO API's letters; None if malformed."""
    runs = _decoded(counts) if isinstance(counts, str) else counts
    return runs if isinstance(runs, list) and all(is_whole(run) and run >= 0 for run in runs) else None


def _decoded(letters: str) -> list[int] | None:
    """A letter is six bits: five of a number, the lowest first, and whether more of them follow. From the third on, a
    number is the difference to the last but one; its highest bit is its sign."""
    runs: list[int] = []
    value, bits = 0, 0
    for letter in letters:
        code = ord(letter) - 48
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
